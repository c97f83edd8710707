package launch

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Requirements is what a driver needs of an offer.
type Requirements struct {
	CPUs        float64
	MemMiB      float64 // heap and overhead
	GPUs        float64
	Ports       []uint64
	Constraints mesosutil.Constraints
}

// Requirements works out what the driver needs. It costs next to nothing
// unless there are constraints, which are parsed; keep the result of a driver
// that waits for many offers. It fails, with an *InvalidError, only for a
// description that Describe did not make.
func (d *Description) Requirements() (Requirements, error) {
	constraints, err := mesosutil.ParseConstraints(d.Constraints)
	if err != nil {
		return Requirements{}, invalid(err, KeyConstraints)
	}
	return Requirements{
		CPUs:        d.Cores,
		MemMiB:      float64(d.MemoryMiB + d.OverheadMiB),
		GPUs:        float64(d.GPUs),
		Ports:       d.Ports,
		Constraints: constraints,
	}, nil
}

// Fit reports whether the resources hold what is required. Attributes are the
// caller's to match (Constraints), since they do not change while several
// drivers share an offer.
func (r Requirements) Fit(resources []mesos.Resource) bool {
	return mesosutil.ScalarSum(resources, "cpus") >= r.CPUs &&
		mesosutil.ScalarSum(resources, "mem") >= r.MemMiB &&
		(r.GPUs == 0 || mesosutil.ScalarSum(resources, "gpus") >= r.GPUs) &&
		(len(r.Ports) == 0 || mesosutil.CheckPorts(r.Ports, mesosutil.RangeValues(resources, mesosutil.PortsResource)))
}

// Carve takes what is required out of the resources of an offer: cpus, then
// mem, gpus and ports, each piece with its role and reservation. ok is false,
// and nothing is taken, when they do not Fit.
func (r Requirements) Carve(resources []mesos.Resource, order mesosutil.PartitionOrder) (remaining, used []mesos.Resource, ok bool) {
	if !r.Fit(resources) {
		return resources, nil, false
	}
	remaining = resources
	for _, want := range []struct {
		name   string
		amount float64
	}{{"cpus", r.CPUs}, {"mem", r.MemMiB}, {"gpus", r.GPUs}} {
		var taken []mesos.Resource
		remaining, taken = mesosutil.PartitionResources(remaining, want.name, want.amount, order)
		used = append(used, taken...)
	}
	rest, ports, err := mesosutil.PartitionPortResources(r.Ports, remaining)
	if err != nil {
		return resources, nil, false
	}
	return rest, append(used, ports...), true
}
