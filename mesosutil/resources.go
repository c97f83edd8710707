package mesosutil

import (
	"math"
	"sort"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Mesos keeps scalar quantities as fixed-point numbers with three decimals
// (`convertToFixed` in its resource code). Working in the same unit keeps
// 0.1+0.2 cpus equal to 0.3 cpus, so an exact fit is never missed.
const (
	scalarUnitsPerOne = 1000
	maxScalarUnits    = math.MaxInt64 / 2
)

func toUnits(v float64) int64 {
	switch v *= scalarUnitsPerOne; {
	case math.IsNaN(v):
		return 0
	case v >= maxScalarUnits:
		return maxScalarUnits
	case v <= -maxScalarUnits:
		return -maxScalarUnits
	}
	return int64(math.Round(v))
}

func fromUnits(u int64) float64 { return float64(u) / scalarUnitsPerOne }

// ScalarSum returns the sum of all scalar resources called name, over all
// roles and reservations, rounded to Mesos's three decimals; 0 when there is
// none.
func ScalarSum(resources []mesos.Resource, name string) float64 {
	var sum int64
	for i := range resources {
		if r := &resources[i]; r.Name == name && isScalar(r) {
			sum = min(sum+toUnits(r.Scalar.Value), maxScalarUnits)
		}
	}
	return fromUnits(sum)
}

// RangeValues returns all ranges of all resources called name, in the order
// in which they stand; nil when there is none.
func RangeValues(resources []mesos.Resource, name string) []mesos.Value_Range {
	var out []mesos.Value_Range
	for i := range resources {
		if r := &resources[i]; r.Name == name && r.Ranges != nil {
			out = append(out, r.Ranges.Range...)
		}
	}
	return out
}

// NewScalarResource returns a SCALAR resource. An empty role means the default
// role "*". A reservation is attached unless the role is "*", which cannot be
// reserved. Frameworks with the RESERVATION_REFINEMENT capability must use the
// resources of an offer instead (PartitionResources keeps their reservation
// stack).
func NewScalarResource(name string, amount float64, role string, reservation *mesos.Resource_ReservationInfo) mesos.Resource {
	if role == "" {
		role = mesos.DefaultRole
	}
	r := mesos.Resource{
		Name:   name,
		Type:   mesos.SCALAR.Enum(),
		Scalar: &mesos.Value_Scalar{Value: amount},
		Role:   &role,
	}
	if role != mesos.DefaultRole {
		r.Reservation = reservation
	}
	return r
}

// PartitionOrder says which resources of an offer are used up first.
type PartitionOrder int

const (
	// OfferOrder takes resources as they stand in the offer, as Spark does.
	// Whether shared or reserved ones go first is then up to the Mesos master.
	OfferOrder PartitionOrder = iota
	// ReservedFirst takes resources reserved for a role before unreserved
	// ones, which leaves the shared part of the cluster to others; within each
	// class the order of the offer holds.
	ReservedFirst
)

// PartitionResources takes amount out of the scalar resources called name.
// It returns what is left of resources and what was taken. Each piece keeps
// everything Mesos compares when it checks an ACCEPT: role, reservation or
// reservation stack, allocation info, provider id, revocable, shared and disk.
//
// Amounts count in thousandths. When the resources are too small, fewer are
// used and no error is reported: callers check ScalarSum first. An amount that
// is not a positive number takes nothing. An entry that Mesos does not allow to
// be split (persistent volume, shared resource, MOUNT or BLOCK disk) is used
// whole if it fits into what is still wanted, and is passed over if not.
// Scalar entries of any name with nothing in them are dropped from what is
// left; other kinds of resources pass through.
//
// The input is not changed; results share its nested messages, so treat both
// as read-only.
//
//	[cpus(*):1 cpus(role2):1] wanting 1.5
//	  used      [cpus(*):1 cpus(role2):0.5]
//	  remaining [cpus(role2):0.5]
//
// Difference from Spark 3.5.1: there a piece keeps only its role and one
// reservation, so offers with refined reservations or allocation info could
// not be accepted.
func PartitionResources(resources []mesos.Resource, name string, amount float64, order PartitionOrder) (remaining, used []mesos.Resource) {
	left := make([]int64, len(resources))
	for i := range resources {
		if isScalar(&resources[i]) {
			left[i] = toUnits(resources[i].Scalar.Value)
		}
	}
	wanted := toUnits(amount)
	for _, i := range walkOrder(resources, order) {
		r := &resources[i]
		if wanted <= 0 {
			break
		}
		if r.Name != name || left[i] <= 0 || (!divisible(r) && left[i] > wanted) {
			continue
		}
		take := min(wanted, left[i])
		used = append(used, withScalar(r, take))
		wanted -= take
		left[i] -= take
	}
	for i := range resources {
		r := &resources[i]
		switch {
		case !isScalar(r):
			remaining = append(remaining, *r)
		case left[i] > 0:
			remaining = append(remaining, withScalar(r, left[i]))
		}
	}
	return remaining, used
}

// walkOrder returns the indexes of resources in the order in which they are
// to be used.
func walkOrder(resources []mesos.Resource, order PartitionOrder) []int {
	idx := make([]int, len(resources))
	for i := range idx {
		idx[i] = i
	}
	if order == ReservedFirst {
		sort.SliceStable(idx, func(a, b int) bool {
			return isReserved(&resources[idx[a]]) && !isReserved(&resources[idx[b]])
		})
	}
	return idx
}

func isScalar(r *mesos.Resource) bool {
	return r.Scalar != nil && r.GetType() == mesos.SCALAR
}

// divisible reports whether Mesos lets a framework use a part of r only.
func divisible(r *mesos.Resource) bool {
	if r.Shared != nil {
		return false
	}
	if d := r.Disk; d != nil {
		if d.Persistence != nil {
			return false
		}
		if s := d.Source; s != nil && (s.Type == mesos.Resource_DiskInfo_Source_MOUNT || s.Type == mesos.Resource_DiskInfo_Source_BLOCK) {
			return false
		}
	}
	return true
}

// withScalar copies r with another quantity.
func withScalar(r *mesos.Resource, units int64) mesos.Resource {
	c := *r
	c.Scalar = &mesos.Value_Scalar{Value: fromUnits(units)}
	return c
}
