package mesosutil

import (
	"fmt"
	"strconv"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// PortsResource is the name of the Mesos resource that holds port ranges.
const PortsResource = "ports"

// ManagedPortKeys are the Spark properties whose fixed ports have to be taken
// out of an offer (Spark 3.5; Spark 2.2 had `spark.executor.port` before it).
func ManagedPortKeys() []string { return []string{"spark.blockManager.port"} }

// WantedPorts returns the fixed ports, other than 0, that the properties named
// by keys ask for, in that order. A value that is not a whole number from 0 to
// 65535 gives a *ParseError.
func WantedPorts(conf Lookup, keys ...string) ([]uint64, error) {
	var ports []uint64
	for _, key := range keys {
		text, ok := conf(key)
		if !ok {
			continue
		}
		p, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, &ParseError{Key: key, Kind: "port", Item: text, Reason: "expected a whole number from 0 to 65535"}
		}
		if p != 0 {
			ports = append(ports, p)
		}
	}
	return ports, nil
}

// CheckPorts reports whether the ranges of an offer hold all wanted ports:
// each lies inside some range (both ends included), and none is wanted twice.
// No wanted ports are always there.
func CheckPorts(wanted []uint64, ranges []mesos.Value_Range) bool {
	for i, p := range wanted {
		if containsPort(wanted[:i], p) || !inRanges(ranges, p) {
			return false
		}
	}
	return true
}

// PortUnavailableError says that a wanted port is not in an offer.
type PortUnavailableError struct{ Port uint64 }

func (e *PortUnavailableError) Error() string {
	return fmt.Sprintf("port %d is not among the offered ports; check with CheckPorts before partitioning", e.Port)
}

// PartitionPortResources takes the wanted ports out of resources. For each
// wanted port, in order, used has one `ports` resource [p,p] that keeps role,
// reservations and allocation info of the first entry that offers it; what is
// left keeps all other ports and resources. Nothing wanted gives
// (resources, nil). A port that is not offered, or wanted twice, gives a
// *PortUnavailableError and no result.
//
//	ports(my_role):[3000-5000] ports(other):[2000-2500] wanting 2100, 4000
//	  used      ports(other):[2100-2100] ports(my_role):[4000-4000]
//	  remaining ports(my_role):[3000-3999,4001-5000] ports(other):[2000-2099,2101-2500]
//
// Difference from Spark 3.5.1: there remaining loses every port as soon as one
// is taken.
func PartitionPortResources(wanted []uint64, resources []mesos.Resource) (remaining, used []mesos.Resource, err error) {
	if len(wanted) == 0 {
		return resources, nil, nil
	}
	remaining = append([]mesos.Resource(nil), resources...)
	for _, p := range wanted {
		i := portEntry(remaining, p)
		if i < 0 {
			return nil, nil, &PortUnavailableError{Port: p}
		}
		used = append(used, withRanges(&remaining[i], []mesos.Value_Range{{Begin: p, End: p}}))
		remaining[i] = withRanges(&remaining[i], cutPort(remaining[i].Ranges.Range, p))
	}
	kept := remaining[:0]
	for _, r := range remaining {
		if !isPorts(&r) || len(r.Ranges.Range) > 0 {
			kept = append(kept, r)
		}
	}
	return kept, used, nil
}

func isPorts(r *mesos.Resource) bool { return r.Name == PortsResource && r.Ranges != nil }

// portEntry returns the index of the first ports entry that holds p, or -1.
func portEntry(resources []mesos.Resource, p uint64) int {
	for i := range resources {
		if r := &resources[i]; isPorts(r) && inRanges(r.Ranges.Range, p) {
			return i
		}
	}
	return -1
}

// cutPort returns ranges without port p.
func cutPort(ranges []mesos.Value_Range, p uint64) []mesos.Value_Range {
	out := make([]mesos.Value_Range, 0, len(ranges)+1)
	for _, r := range ranges {
		if p < r.Begin || p > r.End {
			out = append(out, r)
			continue
		}
		if r.Begin < p {
			out = append(out, mesos.Value_Range{Begin: r.Begin, End: p - 1})
		}
		if p < r.End {
			out = append(out, mesos.Value_Range{Begin: p + 1, End: r.End})
		}
	}
	return out
}

func withRanges(r *mesos.Resource, ranges []mesos.Value_Range) mesos.Resource {
	c := *r
	c.Ranges = &mesos.Value_Ranges{Range: ranges}
	return c
}

func inRanges(ranges []mesos.Value_Range, p uint64) bool {
	for _, r := range ranges {
		if r.Begin <= p && p <= r.End {
			return true
		}
	}
	return false
}

func containsPort(ports []uint64, p uint64) bool {
	for _, q := range ports {
		if p == q {
			return true
		}
	}
	return false
}
