package mesosutil

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
)

const (
	masterDefaultPort    = "5050" // Mesos' own default
	zooKeeperDefaultPort = "2181"
	maxMasterURLLength   = 4096
	maxMasterHosts       = 64
)

// Master says where the Mesos masters are: a list of them, or the ZooKeeper
// ensemble in which they elect their leader. ParseMaster makes one.
type Master struct {
	// ZooKeeper is true when Hosts are ZooKeeper servers and not masters.
	ZooKeeper bool
	// Scheme is "http" or "https" where the URL said so, else "".
	Scheme string
	// Hosts are host:port pairs in the order given, without repetition.
	Hosts []string
	// Path is the znode of the election, such as "/mesos"; only with ZooKeeper.
	Path string

	auth string // user:password of a ZooKeeper URL
}

// ParseMaster reads a Mesos master as Spark and Mesos write it:
//
//	host[:port][,host[:port]…]            port 5050 where it is missing
//	http://… or https://…                 the same, with the scheme to use
//	zk://[user:password@]host[:port][,…]/path   port 2181 where it is missing
//
// each with or without "mesos://" in front, as in mesos://zk://a,b,c/mesos.
// Errors wrap ErrMasterURL and say what is wrong with which part.
func ParseMaster(rawURL string) (Master, error) {
	if len(rawURL) > maxMasterURLLength {
		return Master{}, fmt.Errorf("%w: %d bytes long, at most %d are taken", ErrMasterURL, len(rawURL), maxMasterURLLength)
	}
	rest := strings.TrimPrefix(strings.TrimSpace(rawURL), "mesos://")
	m := Master{}
	scheme, after, found := strings.Cut(rest, "://")
	switch {
	case !found:
	case scheme == "zk":
		m.ZooKeeper, rest = true, after
	case scheme == "http", scheme == "https":
		m.Scheme, rest = scheme, after
	default:
		return Master{}, fmt.Errorf("%w: scheme %q is not known; use mesos://host:5050, zk://host:2181/mesos, http:// or https://", ErrMasterURL, scheme)
	}
	if m.ZooKeeper {
		return m.parseZooKeeper(rest)
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.ContainsAny(rest, "/?#") {
		return Master{}, fmt.Errorf("%w: %q has a path; a master is only host:port", ErrMasterURL, rest)
	}
	if strings.Contains(rest, "@") {
		return Master{}, fmt.Errorf("%w: it carries a user name; set spark.mesos.principal and spark.mesos.secret instead", ErrMasterURL)
	}
	hosts, err := parseHosts(rest, masterDefaultPort)
	m.Hosts = hosts
	return m, err
}

func (m Master) parseZooKeeper(rest string) (Master, error) {
	// The password may hold any character but the last @ ends it.
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		m.auth, rest = rest[:at], rest[at+1:]
		if user, _, ok := strings.Cut(m.auth, ":"); !ok || user == "" {
			return Master{}, fmt.Errorf("%w: in zk://user:password@… the user or the password is missing", ErrMasterURL)
		}
	}
	list, path, found := strings.Cut(rest, "/")
	path = strings.TrimSuffix(path, "/")
	if !found || path == "" {
		return Master{}, fmt.Errorf("%w: a zk:// master needs the path of the election, as in zk://host:2181/mesos", ErrMasterURL)
	}
	if slices.Contains(strings.Split(path, "/"), "") {
		return Master{}, fmt.Errorf("%w: path %q has an empty part", ErrMasterURL, "/"+path)
	}
	hosts, err := parseHosts(list, zooKeeperDefaultPort)
	m.Hosts, m.Path = hosts, "/"+path
	return m, err
}

func parseHosts(list, defaultPort string) ([]string, error) {
	if strings.TrimSpace(list) == "" {
		return nil, fmt.Errorf("%w: no host given", ErrMasterURL)
	}
	var hosts []string
	for item := range strings.SplitSeq(list, ",") {
		host, err := parseHostPort(strings.TrimSpace(item), defaultPort)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) > maxMasterHosts {
		return nil, fmt.Errorf("%w: %d hosts, at most %d are taken", ErrMasterURL, len(hosts), maxMasterHosts)
	}
	return hosts, nil
}

// parseHostPort takes host, host:port, [v6] and [v6]:port. A bare IPv6
// address is refused: where its port begins would be a guess.
func parseHostPort(item, defaultPort string) (string, error) {
	host, port := item, defaultPort
	bracketed := strings.HasPrefix(item, "[") && strings.HasSuffix(item, "]")
	switch {
	case bracketed:
		host = item[1 : len(item)-1]
	case strings.Contains(item, ":"):
		var err error
		if host, port, err = net.SplitHostPort(item); err != nil {
			return "", fmt.Errorf("%w: %q is not host:port (IPv6 goes in brackets)", ErrMasterURL, item)
		}
	}
	if host == "" || strings.ContainsFunc(host, notInHost) {
		return "", fmt.Errorf("%w: %q has no valid host name", ErrMasterURL, item)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%w: port %q of %q is not a number from 1 to 65535", ErrMasterURL, port, item)
	}
	return net.JoinHostPort(host, port), nil
}

func notInHost(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`[]/\@?#"<>^|`+"`{}", r)
}

// Auth is the user and password of a ZooKeeper URL, "" and "" without.
func (m Master) Auth() (user, password string) {
	user, password, _ = strings.Cut(m.auth, ":")
	return user, password
}

// String is the URL without "mesos://" and with the password left out.
func (m Master) String() string {
	list := strings.Join(m.Hosts, ",")
	switch {
	case m.ZooKeeper && m.auth != "":
		user, _ := m.Auth()
		return "zk://" + user + ":***@" + list + m.Path
	case m.ZooKeeper:
		return "zk://" + list + m.Path
	case m.Scheme != "":
		return m.Scheme + "://" + list
	}
	return list
}

// GoString keeps %#v from printing the password.
func (m Master) GoString() string { return "mesosutil.Master(" + m.String() + ")" }

// LogValue keeps slog from printing the password.
func (m Master) LogValue() slog.Value { return slog.StringValue(m.String()) }

// MasterDetector finds the masters of a Mesos cluster and reports when they
// change; a ZooKeeper election is the usual one. The driver calls Detect from
// one goroutine at a time.
type MasterDetector interface {
	// Detect returns the masters to try, the leading one first where that is
	// known, each as host:port or with http:// or https:// in front. It blocks
	// until the answer differs from previous; nil means "whatever is known
	// now, as soon as there is any". It returns when ctx ends. After any other
	// error the driver asks again, with its back-off.
	Detect(ctx context.Context, previous []string) ([]string, error)
}

// staticMasters is the detector of a fixed list.
type staticMasters []string

func (s staticMasters) Detect(ctx context.Context, previous []string) ([]string, error) {
	if previous == nil {
		return s, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}
