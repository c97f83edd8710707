package mesosutil

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

func scalarOf(name, role string, v float64) mesos.Resource {
	return NewScalarResource(name, v, role, nil)
}

func portsOf(role string, bounds ...uint64) mesos.Resource {
	r := mesos.Resource{Name: PortsResource, Type: mesos.RANGES.Enum(), Role: &role, Ranges: &mesos.Value_Ranges{}}
	for i := 0; i+1 < len(bounds); i += 2 {
		r.Ranges.Range = append(r.Ranges.Range, mesos.Value_Range{Begin: bounds[i], End: bounds[i+1]})
	}
	return r
}

func reservedOf(name, role string, v float64) mesos.Resource {
	r := scalarOf(name, "", v)
	r.Role = nil
	r.Reservations = []mesos.Resource_ReservationInfo{{Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: &role}}
	r.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
	r.ProviderID = &mesos.ResourceProviderID{Value: "rp"}
	r.Revocable = &mesos.Resource_RevocableInfo{}
	return r
}

func TestScalarSumAddsEntriesOfOneNameOverRoles(t *testing.T) {
	rs := []mesos.Resource{scalarOf("cpus", "", 0.1), scalarOf("cpus", "r", 0.2), scalarOf("mem", "", 7), portsOf("*", 1, 2)}
	for name, want := range map[string]float64{"cpus": 0.3, "mem": 7, "gpus": 0, "ports": 0} {
		if got := ScalarSum(rs, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if got := ScalarSum([]mesos.Resource{scalarOf("cpus", "", math.Inf(1)), scalarOf("cpus", "", math.Inf(1))}, "cpus"); got <= 0 {
		t.Errorf("sum overflowed to %v", got)
	}
}

func TestRangeValuesKeepOrder(t *testing.T) {
	got := RangeValues([]mesos.Resource{portsOf("a", 5, 6, 1, 2), scalarOf("cpus", "", 1), portsOf("b", 9, 9)}, "ports")
	want := []mesos.Value_Range{{Begin: 5, End: 6}, {Begin: 1, End: 2}, {Begin: 9, End: 9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewScalarResourceReservesNothingInTheDefaultRole(t *testing.T) {
	res := &mesos.Resource_ReservationInfo{}
	if r := NewScalarResource("cpus", 1, "", res); r.GetRole() != "*" || r.Reservation != nil {
		t.Errorf("default role: %v", r)
	}
	if r := NewScalarResource("cpus", 1, "r", res); r.GetRole() != "r" || r.Reservation != res {
		t.Errorf("role r: %v", r)
	}
}

func TestPartitionResourcesWalksTheOffer(t *testing.T) {
	tests := map[string]struct {
		in              []mesos.Resource
		amount          float64
		order           PartitionOrder
		remaining, used []mesos.Resource
	}{
		"splits the second entry": {
			in: []mesos.Resource{scalarOf("cpus", "", 1), scalarOf("cpus", "role2", 1)}, amount: 1.5,
			used:      []mesos.Resource{scalarOf("cpus", "", 1), scalarOf("cpus", "role2", 0.5)},
			remaining: []mesos.Resource{scalarOf("cpus", "role2", 0.5)},
		},
		"reserved first": {
			in: []mesos.Resource{scalarOf("cpus", "", 1), scalarOf("cpus", "role2", 1)}, amount: 1.5, order: ReservedFirst,
			used:      []mesos.Resource{scalarOf("cpus", "role2", 1), scalarOf("cpus", "", 0.5)},
			remaining: []mesos.Resource{scalarOf("cpus", "", 0.5)},
		},
		"too small: all of it": {
			in: []mesos.Resource{scalarOf("cpus", "", 1)}, amount: 5,
			used: []mesos.Resource{scalarOf("cpus", "", 1)},
		},
		"empty entries of any name vanish, others stay": {
			in: []mesos.Resource{scalarOf("gpus", "", 0), portsOf("*", 1, 2), scalarOf("cpus", "", 2)}, amount: 0.5,
			used:      []mesos.Resource{scalarOf("cpus", "", 0.5)},
			remaining: []mesos.Resource{portsOf("*", 1, 2), scalarOf("cpus", "", 1.5)},
		},
		"thousandths are exact": {
			in: []mesos.Resource{scalarOf("cpus", "", 0.1), scalarOf("cpus", "", 0.2)}, amount: 0.3,
			used: []mesos.Resource{scalarOf("cpus", "", 0.1), scalarOf("cpus", "", 0.2)},
		},
		"nothing wanted": {
			in: []mesos.Resource{scalarOf("cpus", "", 1)}, amount: 0,
			remaining: []mesos.Resource{scalarOf("cpus", "", 1)},
		},
		"not a number": {
			in: []mesos.Resource{scalarOf("cpus", "", 1)}, amount: math.NaN(),
			remaining: []mesos.Resource{scalarOf("cpus", "", 1)},
		},
		"keeps reservation stack, allocation, provider, revocable": {
			in: []mesos.Resource{reservedOf("cpus", "a/b", 4)}, amount: 1,
			used:      []mesos.Resource{reservedOf("cpus", "a/b", 1)},
			remaining: []mesos.Resource{reservedOf("cpus", "a/b", 3)},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := mesos.Resources(tc.in).Clone()
			remaining, used := PartitionResources(tc.in, "cpus", tc.amount, tc.order)
			if diff := cmp.Diff(tc.remaining, remaining); diff != "" {
				t.Errorf("remaining: %s", diff)
			}
			if diff := cmp.Diff(tc.used, used); diff != "" {
				t.Errorf("used: %s", diff)
			}
			if diff := cmp.Diff([]mesos.Resource(before), tc.in); diff != "" {
				t.Errorf("input changed: %s", diff)
			}
		})
	}
}

func TestPartitionResourcesUsesIndivisibleDisksWhole(t *testing.T) {
	volume := scalarOf("disk", "r", 10)
	volume.Disk = &mesos.Resource_DiskInfo{Persistence: &mesos.Resource_DiskInfo_Persistence{ID: "p"}}
	shared := scalarOf("disk", "r", 10)
	shared.Shared = &mesos.Resource_SharedInfo{}
	mount := scalarOf("disk", "r", 10)
	mount.Disk = &mesos.Resource_DiskInfo{Source: &mesos.Resource_DiskInfo_Source{Type: mesos.Resource_DiskInfo_Source_MOUNT}}
	for _, r := range []mesos.Resource{volume, shared, mount} {
		if remaining, used := PartitionResources([]mesos.Resource{r}, "disk", 5, OfferOrder); len(used) != 0 || len(remaining) != 1 {
			t.Errorf("split an indivisible entry: used %v, remaining %v", used, remaining)
		}
		remaining, used := PartitionResources([]mesos.Resource{r, scalarOf("disk", "", 5)}, "disk", 12, OfferOrder)
		if diff := cmp.Diff([]mesos.Resource{r, scalarOf("disk", "", 2)}, used); diff != "" || len(remaining) != 1 {
			t.Errorf("whole entry: %s, remaining %v", diff, remaining)
		}
	}
}

func TestResourceRoleReadsTheReservationStack(t *testing.T) {
	role := "x"
	for want, r := range map[string]mesos.Resource{
		"*":   {},
		"x":   {Role: &role},
		"a/b": reservedOf("cpus", "a/b", 1),
	} {
		if got := ResourceRole(&r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestResolveRole(t *testing.T) {
	for in, want := range map[string]string{"": "*", "*": "*", "prod": "prod", "a/b": "a/b"} {
		if got, err := ResolveRole(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"/a", "a/", "a//b", "a/*", "..", "-a", "a b"} {
		if _, err := ResolveRole(in); !isParseError(err) {
			t.Errorf("%q accepted: %v", in, err)
		}
	}
}

func TestMemoryOverhead(t *testing.T) {
	ptr := func(v int64) *int64 { return &v }
	for _, tc := range []struct {
		heap     int64
		explicit *int64
		factor   float64
		want     int64
	}{
		{512, nil, 0.1, 896},
		{4096, nil, 0.1, 4505},
		{1024, ptr(512), 0.1, 1536},
		{1000, nil, 0.1, 1384},
		{10000, nil, 0.1, 11000},
		{5000, nil, 0.2, 6000},
		{1200, ptr(0), 0.1, 1200},
		{1000, ptr(-5), 0.1, 1000},
		{1000, nil, math.NaN(), 1384},
		{1000, nil, -1, 1384},
		{math.MaxInt64, nil, 1, math.MaxInt64},
		{1000, nil, math.Inf(1), math.MaxInt64/2 + 1000},
	} {
		if got := ContainerMemoryMiB(tc.heap, tc.explicit, tc.factor); got != tc.want {
			t.Errorf("%d %v %v: got %d, want %d", tc.heap, tc.explicit, tc.factor, got, tc.want)
		}
	}
}
