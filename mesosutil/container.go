package mesosutil

import (
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// The containerizers that `spark.mesos.containerizer` chooses from.
const (
	DockerContainerizer = "docker"
	MesosContainerizer  = "mesos"
)

// The properties that shape a container. Spark uses the executor's keys for
// drivers as well.
const (
	ContainerizerKey  = "spark.mesos.containerizer"
	DockerImageKey    = "spark.mesos.executor.docker.image"
	DockerForceKey    = "spark.mesos.executor.docker.forcePullImage"
	DockerVolumesKey  = "spark.mesos.executor.docker.volumes"
	DockerPortMapsKey = "spark.mesos.executor.docker.portmaps"
	DockerParamsKey   = "spark.mesos.executor.docker.parameters"
	NetworkNameKey    = "spark.mesos.network.name"
	NetworkLabelsKey  = "spark.mesos.network.labels"
)

// Container describes the container of a task. The zero value is a plain
// Mesos container without an image.
type Container struct {
	// Containerizer is DockerContainerizer or MesosContainerizer; empty means
	// Docker. It counts only together with an image.
	Containerizer string
	// Image is a Docker image name. Without it ForcePull, Volumes, PortMappings
	// and Parameters are ignored, as in Spark.
	Image        string
	ForcePull    bool
	Volumes      []mesos.Volume
	PortMappings []PortMapping     // Docker containerizer only
	Parameters   []mesos.Parameter // Docker containerizer only
	// Network names a user (CNI) network; Labels go with it and are ignored
	// without a name.
	Network       string
	NetworkLabels []mesos.Label
}

// ParseContainer reads the container properties of conf. Malformed values are
// refused with a *ParseError that carries the key, also where an ignored
// property holds them.
func ParseContainer(conf Lookup) (Container, error) {
	var c Container
	c.Containerizer, _ = conf(ContainerizerKey)
	switch c.Containerizer {
	case "", DockerContainerizer, MesosContainerizer:
	default:
		return Container{}, &ParseError{Key: ContainerizerKey, Kind: "containerizer", Item: c.Containerizer, Reason: `must be "docker" or "mesos"`}
	}
	c.Image, _ = conf(DockerImageKey)
	if text, ok := conf(DockerForceKey); ok {
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "true":
			c.ForcePull = true
		case "false":
		default:
			return Container{}, &ParseError{Key: DockerForceKey, Kind: "boolean", Item: text, Reason: `must be "true" or "false"`}
		}
	}
	if err := c.parseLists(conf); err != nil {
		return Container{}, err
	}
	c.Network, _ = conf(NetworkNameKey)
	labels, _ := conf(NetworkLabelsKey)
	var err error
	if c.NetworkLabels, err = ParseLabels(labels); err != nil {
		return Container{}, withKey(err, NetworkLabelsKey)
	}
	return c, nil
}

func (c *Container) parseLists(conf Lookup) (err error) {
	items := func(key string) []string {
		text, _ := conf(key)
		return SplitList(text)
	}
	if c.Volumes, err = ParseVolumes(items(DockerVolumesKey)); err != nil {
		return withKey(err, DockerVolumesKey)
	}
	if c.PortMappings, err = ParsePortMappings(items(DockerPortMapsKey)); err != nil {
		return withKey(err, DockerPortMapsKey)
	}
	if c.Parameters, err = ParseParameters(items(DockerParamsKey)); err != nil {
		return withKey(err, DockerParamsKey)
	}
	return nil
}

// Info returns the ContainerInfo of a task. It is never nil: a task always has
// one, even when nothing is in it. Its type is DOCKER if there is an image and
// the containerizer is Docker, else MESOS.
func (c Container) Info() *mesos.ContainerInfo {
	info := &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum()}
	if c.Image != "" {
		info.Volumes = append(info.Volumes, c.Volumes...)
		if c.Containerizer == MesosContainerizer {
			info.Mesos = c.mesosInfo()
		} else {
			info.Type = mesos.ContainerInfo_DOCKER.Enum()
			info.Docker = c.dockerInfo()
		}
	}
	if c.Network != "" {
		info.NetworkInfos = []mesos.NetworkInfo{NewNetworkInfo(c.Network, c.NetworkLabels)}
	}
	return info
}

func (c Container) mesosInfo() *mesos.ContainerInfo_MesosInfo {
	cached := !c.ForcePull
	return &mesos.ContainerInfo_MesosInfo{Image: &mesos.Image{
		Type:   mesos.Image_DOCKER.Enum(),
		Docker: &mesos.Image_Docker{Name: c.Image},
		Cached: &cached,
	}}
}

// dockerInfo puts the network into the `net` parameter too, since the Docker
// containerizer takes the name of a user network only from there.
func (c Container) dockerInfo() *mesos.ContainerInfo_DockerInfo {
	force := c.ForcePull
	info := &mesos.ContainerInfo_DockerInfo{Image: c.Image, ForcePullImage: &force}
	if c.Network != "" {
		info.Network = mesos.ContainerInfo_DockerInfo_USER.Enum()
		info.Parameters = append(info.Parameters, mesos.Parameter{Key: "net", Value: c.Network})
	}
	info.PortMappings = append(info.PortMappings, c.PortMappings...)
	info.Parameters = append(info.Parameters, c.Parameters...)
	return info
}

// NewNetworkInfo joins a task to a named (CNI) network, with labels for the
// network plug-in.
func NewNetworkInfo(name string, labels []mesos.Label) mesos.NetworkInfo {
	info := mesos.NetworkInfo{Name: &name}
	if len(labels) > 0 {
		info.Labels = &mesos.Labels{Labels: labels}
	}
	return info
}
