package mesosutil

import (
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// PortMapping is one published port of a Docker container.
type PortMapping = mesos.ContainerInfo_DockerInfo_PortMapping

// ParsePortMappings reads the items of `spark.mesos.executor.docker.portmaps`
// (split with SplitList):
//
//	port_mapping := host_port ":" container_port [":" protocol]
//	protocol     := "tcp" | "udp"
//
// host_port is 0 to 65535 (0 lets Docker choose), container_port 1 to 65535;
// the protocol is tcp unless given. The *ParseError names the first item that
// does not fit. Spark 3.5.1 takes any protocol text and aborts its scheduler
// on a port that is no number.
//
//	80:8080    53:53:udp
func ParsePortMappings(items []string) ([]PortMapping, error) {
	return parseAll(items, parsePortMapping)
}

// PortMappingsLenient keeps the well-formed mappings and returns an error for
// each of the others, as Spark does (with a warning) for wrong shapes.
func PortMappingsLenient(items []string) ([]PortMapping, []error) {
	return parseItems(items, parsePortMapping)
}

func parsePortMapping(item string) (PortMapping, error) {
	bad := func(reason string) (PortMapping, error) {
		return PortMapping{}, &ParseError{Kind: "port mapping", Item: item, Reason: reason}
	}
	if err := checkLength("port mapping", item); err != nil {
		return PortMapping{}, err
	}
	parts := strings.Split(item, ":")
	if len(parts) != 2 && len(parts) != 3 {
		return bad("expected host_port:container_port[:udp|:tcp]")
	}
	host, err := strconv.ParseUint(parts[0], 10, 16)
	if err != nil {
		return bad("the host port must be a whole number from 0 to 65535")
	}
	container, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil || container == 0 {
		return bad("the container port must be a whole number from 1 to 65535")
	}
	protocol := "tcp"
	if len(parts) == 3 {
		protocol = parts[2]
	}
	if protocol != "tcp" && protocol != "udp" {
		return bad(`the protocol must be "tcp" or "udp"`)
	}
	return PortMapping{HostPort: uint32(host), ContainerPort: uint32(container), Protocol: &protocol}, nil
}
