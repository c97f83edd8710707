package mesosutil

import (
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// ParseVolumes reads the items of `spark.mesos.executor.docker.volumes`
// (split with SplitList):
//
//	volume := [host_path ":"] container_path [":" mode]
//	mode   := "ro" | "rw"
//
// The mode is RW unless given. With two parts, a second part that is no mode
// is the container path. The *ParseError names the first item that does not
// fit.
//
//	/c    /c:ro    /h:/c    /h:/c:ro
func ParseVolumes(items []string) ([]mesos.Volume, error) {
	return parseAll(items, parseVolume)
}

// VolumesLenient keeps the well-formed volumes and returns an error for each
// of the others, as Spark does (with a warning).
func VolumesLenient(items []string) ([]mesos.Volume, []error) {
	return parseItems(items, parseVolume)
}

func parseVolume(item string) (mesos.Volume, error) {
	bad := func(reason string) (mesos.Volume, error) {
		return mesos.Volume{}, &ParseError{Kind: "volume", Item: item, Reason: reason}
	}
	if err := checkLength("volume", item); err != nil {
		return mesos.Volume{}, err
	}
	mode := mesos.RW.Enum()
	parts := strings.Split(item, ":")
	if n := len(parts); n > 1 {
		if m := volumeMode(parts[n-1]); m != nil {
			mode, parts = m, parts[:n-1]
		} else if n == 3 {
			return bad(`the third part must be "ro" or "rw"`)
		}
	}
	if len(parts) > 2 {
		return bad("too many parts; expected [host_path:]container_path[:ro|:rw]")
	}
	for _, p := range parts {
		if p == "" {
			return bad("empty path; expected [host_path:]container_path[:ro|:rw]")
		}
	}
	v := mesos.Volume{ContainerPath: parts[len(parts)-1], Mode: mode}
	if len(parts) == 2 {
		v.HostPath = &parts[0]
	}
	return v, nil
}

func volumeMode(s string) *mesos.Volume_Mode {
	switch s {
	case "ro":
		return mesos.RO.Enum()
	case "rw":
		return mesos.RW.Enum()
	}
	return nil
}
