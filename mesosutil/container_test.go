package mesosutil

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

func containerOf(t *testing.T, conf map[string]string) *mesos.ContainerInfo {
	t.Helper()
	c, err := ParseContainer(MapLookup(conf))
	if err != nil {
		t.Fatal(err)
	}
	return c.Info()
}

func TestContainerWithoutImageIsAnEmptyMesosContainer(t *testing.T) {
	got := containerOf(t, map[string]string{DockerVolumesKey: "/a", DockerForceKey: "true", ContainerizerKey: "docker", NetworkLabelsKey: "a:b"})
	if diff := cmp.Diff(&mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum()}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDockerContainer(t *testing.T) {
	got := containerOf(t, map[string]string{
		DockerImageKey: "some_image", DockerForceKey: "true",
		DockerVolumesKey: "/host_vol:/container_vol:ro", DockerPortMapsKey: "8080:80:tcp", DockerParamsKey: "a=1,b=2,c=3",
	})
	force, host, tcp := true, "/host_vol", "tcp"
	want := &mesos.ContainerInfo{
		Type:    mesos.ContainerInfo_DOCKER.Enum(),
		Volumes: []mesos.Volume{{ContainerPath: "/container_vol", HostPath: &host, Mode: mesos.RO.Enum()}},
		Docker: &mesos.ContainerInfo_DockerInfo{
			Image: "some_image", ForcePullImage: &force,
			PortMappings: []PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: &tcp}},
			Parameters:   []mesos.Parameter{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}, {Key: "c", Value: "3"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := containerOf(t, map[string]string{DockerImageKey: "i"}); got.Docker.GetForcePullImage() {
		t.Error("images are pulled by force unless asked")
	}
}

func TestMesosContainerKeepsVolumesAndDropsDockerSettings(t *testing.T) {
	got := containerOf(t, map[string]string{
		ContainerizerKey: "mesos", DockerImageKey: "i", DockerVolumesKey: "/a", DockerPortMapsKey: "1:2", DockerParamsKey: "a=1", DockerForceKey: "TRUE",
	})
	cached := false
	want := &mesos.ContainerInfo{
		Type:    mesos.ContainerInfo_MESOS.Enum(),
		Volumes: []mesos.Volume{volume("", "/a", mesos.RW)},
		Mesos:   &mesos.ContainerInfo_MesosInfo{Image: &mesos.Image{Type: mesos.Image_DOCKER.Enum(), Docker: &mesos.Image_Docker{Name: "i"}, Cached: &cached}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := containerOf(t, map[string]string{ContainerizerKey: "mesos", DockerImageKey: "i"}); !got.Mesos.Image.GetCached() {
		t.Error("the image is cached unless pulled by force")
	}
}

func TestNetworkGoesToNetworkInfoAndDockerParameter(t *testing.T) {
	conf := map[string]string{NetworkNameKey: "test-network-name", NetworkLabelsKey: "key1:val1,key2:val2"}
	name := "test-network-name"
	want := []mesos.NetworkInfo{{Name: &name, Labels: &mesos.Labels{Labels: []mesos.Label{label("key1", "val1"), label("key2", "val2")}}}}
	if diff := cmp.Diff(want, containerOf(t, conf).NetworkInfos); diff != "" {
		t.Error(diff)
	}
	conf[DockerImageKey], conf[DockerParamsKey] = "i", "a=1"
	got := containerOf(t, conf)
	if diff := cmp.Diff(want, got.NetworkInfos); diff != "" {
		t.Error(diff)
	}
	if got.Docker.GetNetwork() != mesos.ContainerInfo_DockerInfo_USER ||
		!cmp.Equal(got.Docker.Parameters, []mesos.Parameter{{Key: "net", Value: name}, {Key: "a", Value: "1"}}) {
		t.Errorf("docker info %v", got.Docker)
	}
}

func TestParseContainerNamesTheKeyOfABadValue(t *testing.T) {
	for key, value := range map[string]string{
		ContainerizerKey: "rkt", DockerForceKey: "maybe", DockerVolumesKey: "/a:/b:x", DockerPortMapsKey: "x:1",
		DockerParamsKey: "a", NetworkLabelsKey: "a:b:c",
	} {
		var pe *ParseError
		if _, err := ParseContainer(MapLookup(map[string]string{key: value})); !errors.As(err, &pe) || pe.Key != key || pe.Item == "" {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
}

func TestFetchURIs(t *testing.T) {
	yes := true
	got := FetchURIs([]string{" http://a ", "", "hdfs://b"}, true)
	if diff := cmp.Diff([]mesos.CommandInfo_URI{{Value: "http://a", Cache: &yes}, {Value: "hdfs://b", Cache: &yes}}, got); diff != "" {
		t.Error(diff)
	}
	if got := FetchURIs([]string{"x"}, false); got[0].GetCache() || got[0].Cache == nil {
		t.Errorf("got %v", got)
	}
}

func TestPackageNames(t *testing.T) {
	for uri, want := range map[string][3]string{
		"s3a://b/spark-3.5.1-bin.tgz":  {"spark-3.5.1-bin.tgz", "spark-3", "cd spark-3*"},
		"hdfs:///test-app-1.0.0.tgz":   {"test-app-1.0.0.tgz", "test-app-1", "cd test-app-1*"},
		"spark":                        {"spark", "spark", "cd spark*"},
		"http://h/x/":                  {"x", "x", "cd x*"},
		"http://h/my app;rm -rf x.tgz": {"my app;rm -rf x.tgz", "my app;rm -rf x", `cd "my app;rm -rf x"*`},
		"///":                          {"", "", "cd *"},
	} {
		if got := [3]string{URIFileName(uri), PackageBaseName(uri), EnterPackage(uri)}; got != want {
			t.Errorf("%q: got %q", uri, got)
		}
	}
}
