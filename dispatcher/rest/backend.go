package rest

import (
	"context"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Dispatcher is what the server asks. All methods may be called concurrently.
//
// Errors that the server tells apart: dispatcher.ErrNotFound, *fsm.RefusedError,
// *launch.InvalidError, raftstore.ErrNoLeader, ErrNotLeader, ErrClosed,
// ErrTooLarge, ErrOutcomeUnknown, and those of a context. Waiting for a leader
// is the Dispatcher's part; the server does not ask twice.
type Dispatcher interface {
	Submit(ctx context.Context, s launch.Submission, r dispatcher.Request) (dispatcher.Receipt, error)
	Kill(ctx context.Context, id string, r dispatcher.Request) (dispatcher.KillReceipt, error)
	Driver(ctx context.Context, id string, c dispatcher.Consistency) (*fsm.Driver, error)
	View(ctx context.Context, c dispatcher.Consistency) (*fsm.View, error)
	Feed() *fsm.Feed
	Cluster(ctx context.Context) (dispatcher.Cluster, error)
	// Describe decodes the specification of a driver for display, with secrets
	// redacted.
	Describe(d *fsm.Driver) (Description, error)
	// Leader is the id of the leader as far as this node knows, or empty. It is
	// asked on every request and must not wait.
	Leader() string
}

// Description is what was submitted, fit to be shown.
type Description struct {
	AppResource string
	Args        []string
	Properties  map[string]string
	Environment map[string]string
}
