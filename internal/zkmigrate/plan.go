package zkmigrate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// ErrNeverRegistered says that the dispatcher never had a framework: there is
// nothing to take over from Mesos.
var ErrNeverRegistered = errors.New("the dispatcher never registered with Mesos: there is no framework id")

// Plan is what is to be imported.
type Plan struct {
	FrameworkID string
	// Drivers in the order in which they are imported: as the old dispatcher
	// would launch them, by the time of their submission.
	Drivers []api.ImportDriver
	// Quarantine holds the nodes that cannot be understood.
	Quarantine []Quarantined
	// Notes are about what the tree says in two ways.
	Notes []string
}

// Quarantined is a driver that is not taken over.
type Quarantined struct {
	ID     string `json:"id"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
	// Data is the node as it is stored, where it cannot be decoded.
	Data []byte `json:"data,omitempty"`
	// Driver is the driver where it can be decoded; its submission can be
	// submitted again.
	Driver *api.ImportDriver `json:"driver,omitempty"`
}

// MakePlan decodes a tree. The error is ErrNeverRegistered, or says why the
// framework id cannot be read; drivers that cannot be read are quarantined.
func MakePlan(t *Tree) (*Plan, error) {
	if len(t.FrameworkID.Data) == 0 {
		return nil, ErrNeverRegistered
	}
	id, err := frameworkID(t.FrameworkID.Data)
	if err != nil {
		return nil, fmt.Errorf("the framework id in %s cannot be read: %w", t.FrameworkID.Path, err)
	}
	p := &Plan{FrameworkID: id}
	taken := make(map[string]string)
	// A crash between two writes leaves a driver in two places. What ran, or may
	// have, goes first: a driver must not run twice.
	for _, part := range []struct {
		nodes  []Node
		decode func(Node) (api.ImportDriver, error)
		name   string
	}{
		{t.Launched, decodeLaunched, dirLaunched},
		{t.Retrying, decodeRetrying, dirRetry},
		{t.Queued, decodeQueued, dirQueue},
	} {
		for _, n := range part.nodes {
			if where, twice := taken[n.ID]; twice {
				p.Notes = append(p.Notes, fmt.Sprintf("%s is in %s and in %s; the first counts", n.ID, where, part.name))
				continue
			}
			taken[n.ID] = part.name
			d, err := part.decode(n)
			if err != nil {
				p.Quarantine = append(p.Quarantine, Quarantined{ID: n.ID, Path: n.Path, Reason: "the node cannot be read: " + err.Error(), Data: n.Data})
				continue
			}
			p.Drivers = append(p.Drivers, d)
		}
	}
	slices.SortStableFunc(p.Drivers, func(a, b api.ImportDriver) int {
		return cmp.Or(cmp.Compare(a.SubmittedMs, b.SubmittedMs), cmp.Compare(a.ID, b.ID))
	})
	return p, nil
}
