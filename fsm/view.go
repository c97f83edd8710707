package fsm

import "math"

// Index of the last entry that this view contains.
func (v *View) Index() uint64 { return v.s.index }

// Policy of this view. It must not be changed.
func (v *View) Policy() *Policy { return v.s.policy }

// Framework of this view.
func (v *View) Framework() Framework { return v.s.framework }

// NextChange is the number that the first change after this view will have.
func (v *View) NextChange() uint64 { return v.s.nextChange }

// Counts of drivers by the part they stand in.
func (v *View) Counts() Counts { return v.t.counts() }

// Len is the number of drivers known.
func (v *View) Len() int { return v.t.drivers.Len() }

// Driver is the driver with this id.
func (v *View) Driver(id string) (*Driver, bool) { return v.t.drivers.Get(id) }

// Waiting visits the queued drivers in launch order until visit returns false.
func (v *View) Waiting(visit func(*Driver) bool) { v.t.waiting.Scan(visit) }

// Retrying visits the drivers between two attempts, the one due first ahead.
func (v *View) Retrying(visit func(*Driver) bool) { v.t.retrying.Scan(visit) }

// Active visits the drivers that may be running in Mesos, by id.
func (v *View) Active(visit func(*Driver) bool) {
	v.t.active.Scan(func(_ string, d *Driver) bool { return visit(d) })
}

// Finished visits the terminal drivers, the latest first.
func (v *View) Finished(visit func(*Driver) bool) {
	v.t.finished.Reverse(func(_ uint64, d *Driver) bool { return visit(d) })
}

// After visits drivers in order of acceptance, beginning behind seq (0: the first).
func (v *View) After(seq uint64, visit func(*Driver) bool) {
	if seq == math.MaxUint64 {
		return
	}
	v.t.bySeq.Ascend(seq+1, func(_ uint64, d *Driver) bool { return visit(d) })
}

// Before visits drivers from the latest to the oldest, beginning ahead of seq
// (0: the latest).
func (v *View) Before(seq uint64, visit func(*Driver) bool) {
	step := func(_ uint64, d *Driver) bool { return visit(d) }
	switch seq {
	case 0:
		v.t.bySeq.Reverse(step)
	case 1:
	default:
		v.t.bySeq.Descend(seq-1, step)
	}
}

// Nodes visits the members by id.
func (v *View) Nodes(visit func(*Node) bool) {
	v.t.nodes.Scan(func(_ string, n *Node) bool { return visit(n) })
}
