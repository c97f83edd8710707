package mesosutil

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

func isParseError(err error) bool {
	var pe *ParseError
	return errors.As(err, &pe)
}

func TestWantedPortsAreTheFixedOnesInKeyOrder(t *testing.T) {
	conf := MapLookup(map[string]string{"a": "1", "b": "0", "c": "65535", "d": "x", "e": "65536", "f": "-1"})
	got, err := WantedPorts(conf, "c", "b", "unset", "a")
	if err != nil || !cmp.Equal(got, []uint64{65535, 1}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, k := range []string{"d", "e", "f"} {
		var pe *ParseError
		if _, err := WantedPorts(conf, k); !errors.As(err, &pe) || pe.Key != k {
			t.Errorf("%s: %v", k, err)
		}
	}
	if !cmp.Equal(ManagedPortKeys(), []string{"spark.blockManager.port"}) {
		t.Error("managed keys changed")
	}
}

func TestCheckPorts(t *testing.T) {
	offered := []mesos.Value_Range{{Begin: 3000, End: 3001}, {Begin: 4000, End: 4000}}
	for _, tc := range []struct {
		wanted []uint64
		ranges []mesos.Value_Range
		want   bool
	}{
		{nil, nil, true},
		{nil, offered, true},
		{[]uint64{3000}, offered, true},
		{[]uint64{3001, 4000}, offered, true},
		{[]uint64{3002}, offered, false},
		{[]uint64{30100}, []mesos.Value_Range{{Begin: 31100, End: 31200}}, false},
		{[]uint64{4000}, nil, false},
		{[]uint64{3000, 3000}, offered, false},
	} {
		if got := CheckPorts(tc.wanted, tc.ranges); got != tc.want {
			t.Errorf("%v in %v: got %v", tc.wanted, tc.ranges, got)
		}
	}
}

func TestPartitionPortResources(t *testing.T) {
	mine, other := portsOf("my_role", 3000, 5000), portsOf("other_role", 2000, 2500)
	tests := map[string]struct {
		wanted          []uint64
		in              []mesos.Resource
		remaining, used []mesos.Resource
	}{
		"one port": {[]uint64{4000}, []mesos.Resource{mine},
			[]mesos.Resource{portsOf("my_role", 3000, 3999, 4001, 5000)},
			[]mesos.Resource{portsOf("my_role", 4000, 4000)}},
		"two ports of one range (2.2)": {[]uint64{3000, 4000}, []mesos.Resource{mine},
			[]mesos.Resource{portsOf("my_role", 3001, 3999, 4001, 5000)},
			[]mesos.Resource{portsOf("my_role", 3000, 3000), portsOf("my_role", 4000, 4000)}},
		"the first of two ranges": {[]uint64{4000}, []mesos.Resource{mine, other},
			[]mesos.Resource{portsOf("my_role", 3000, 3999, 4001, 5000), other},
			[]mesos.Resource{portsOf("my_role", 4000, 4000)}},
		"one of each role, in wanted order": {[]uint64{2100, 4000}, []mesos.Resource{mine, other, scalarOf("cpus", "", 1)},
			[]mesos.Resource{portsOf("my_role", 3000, 3999, 4001, 5000), portsOf("other_role", 2000, 2099, 2101, 2500), scalarOf("cpus", "", 1)},
			[]mesos.Resource{portsOf("other_role", 2100, 2100), portsOf("my_role", 4000, 4000)}},
		"none wanted": {nil, []mesos.Resource{mine, other}, []mesos.Resource{mine, other}, nil},
		"the whole entry": {[]uint64{7}, []mesos.Resource{portsOf("*", 7, 7), scalarOf("cpus", "", 1)},
			[]mesos.Resource{scalarOf("cpus", "", 1)}, []mesos.Resource{portsOf("*", 7, 7)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			remaining, used, err := PartitionPortResources(tc.wanted, tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.remaining, remaining); diff != "" {
				t.Errorf("remaining: %s", diff)
			}
			if diff := cmp.Diff(tc.used, used); diff != "" {
				t.Errorf("used: %s", diff)
			}
		})
	}
	if diff := cmp.Diff(portsOf("my_role", 3000, 5000), mine); diff != "" {
		t.Errorf("input changed: %s", diff)
	}
}

func TestPartitionPortResourcesRefusesWhatIsNotOffered(t *testing.T) {
	for _, wanted := range [][]uint64{{1}, {3000, 3000}} {
		var pe *PortUnavailableError
		_, _, err := PartitionPortResources(wanted, []mesos.Resource{portsOf("*", 3000, 3001)})
		if !errors.As(err, &pe) || pe.Port != wanted[len(wanted)-1] {
			t.Errorf("%v: %v", wanted, err)
		}
	}
}
