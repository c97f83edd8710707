package zkmaster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

const (
	labelJSON     = "json.info"
	labelProtobuf = "info"
)

// parseName splits the name of a master's node: json.info_0000000012.
func parseName(name string) (label string, sequence int64, ok bool) {
	at := strings.LastIndexByte(name, '_')
	if at < 0 {
		return "", 0, false
	}
	label = name[:at]
	sequence, err := strconv.ParseInt(name[at+1:], 10, 32)
	return label, sequence, err == nil && (label == labelJSON || label == labelProtobuf)
}

// masterInfo is the part of MasterInfo that says where a master is.
type masterInfo struct {
	PID      string `json:"pid"` // master@192.0.2.1:5050
	Hostname string `json:"hostname"`
	Port     int    `json:"port"`
	Address  struct {
		IP       string `json:"ip"`
		Hostname string `json:"hostname"`
		Port     int    `json:"port"`
	} `json:"address"` // since 0.24
}

func readInfo(name string, data []byte) (m masterInfo, err error) {
	label, _, _ := parseName(name)
	if label == labelJSON {
		return m, json.Unmarshal(data, &m)
	}
	var info mesos.MasterInfo
	if err := info.Unmarshal(data); err != nil {
		return m, err
	}
	m.PID, m.Hostname, m.Port = info.GetPID(), info.GetHostname(), int(info.GetPort())
	if a := info.GetAddress(); a != nil {
		m.Address.IP, m.Address.Hostname, m.Address.Port = a.GetIP(), a.GetHostname(), int(a.GetPort())
	}
	return m, nil
}

// address is host:port of the master that a node describes.
func (d *Detector) address(name string, data []byte) (string, error) {
	m, err := readInfo(name, data)
	if err != nil {
		return "", fmt.Errorf("its MasterInfo cannot be read: %w", err)
	}
	port := m.Port
	if m.Address.Port != 0 {
		port = m.Address.Port
	}
	host := m.Address.IP
	if d.scheme != "" || host == "" {
		host = first(m.Address.Hostname, m.Hostname, host)
	}
	// The text of a pid is what masters before 0.24 have of an IP address.
	if _, place, found := strings.Cut(m.PID, "@"); found && m.Address.IP == "" && d.scheme == "" {
		if h, p, err := net.SplitHostPort(place); err == nil {
			host = h
			if n, err := strconv.ParseUint(p, 10, 16); err == nil {
				port = int(n)
			}
		}
	}
	if host == "" || port < 1 || port > 65535 {
		return "", errors.New("its MasterInfo has no address")
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
