package testcluster

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// poll is how often a condition is looked at that nothing announces.
const poll = 5 * time.Millisecond

// Until waits until ok holds. The error names what was waited for.
func Until(ctx context.Context, what string, ok func() bool) error {
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-time.After(poll):
		}
	}
	return nil
}

// WaitReady waits until a node leads and holds the subscription to Mesos, and
// returns it.
func (c *Cluster) WaitReady(ctx context.Context) (*Node, error) {
	return c.waitOne(ctx, "a leader that is subscribed", func(n *Node) bool {
		run := n.Inside()
		return n.Leads() && run.Store().VerifyLeader(ctx) == nil
	})
}

// WaitLeader waits until a node is confirmed to lead, subscribed or not.
func (c *Cluster) WaitLeader(ctx context.Context) (*Node, error) {
	return c.waitOne(ctx, "a leader", func(n *Node) bool {
		run := n.Inside()
		return run != nil && run.Store().Status().Ready && run.Store().VerifyLeader(ctx) == nil
	})
}

// WaitTerm waits for a leader of a term later than this one.
func (c *Cluster) WaitTerm(ctx context.Context, after uint64) (*Node, error) {
	return c.waitOne(ctx, fmt.Sprintf("a leader after term %d", after), func(n *Node) bool {
		run := n.Inside()
		if run == nil {
			return false
		}
		st := run.Store().Status()
		return st.Ready && st.Term > after && run.Store().VerifyLeader(ctx) == nil
	})
}

func (c *Cluster) waitOne(ctx context.Context, what string, ok func(*Node) bool) (found *Node, err error) {
	err = Until(ctx, what, func() bool {
		for _, n := range c.Running() {
			if ok(n) {
				found = n
				return true
			}
		}
		return false
	})
	return found, err
}

// WaitApplied waits until all running nodes have applied what the leader has
// acknowledged up to now.
func (c *Cluster) WaitApplied(ctx context.Context) error {
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		return err
	}
	run := leader.Inside()
	if run == nil {
		return fmt.Errorf("%s: %w", leader.ID, ErrDown)
	}
	index, err := run.Store().Linearize(ctx)
	if err != nil {
		return err
	}
	for _, n := range c.Running() {
		if err := Until(ctx, fmt.Sprintf("index %d on %s", index, n.ID), func() bool {
			run := n.Inside()
			return run == nil || run.Store().AppliedIndex() >= index
		}); err != nil {
			return err
		}
	}
	return nil
}

// WaitState waits until the state of this node satisfies ok. Changes of the
// state wake it.
func (n *Node) WaitState(ctx context.Context, what string, ok func(*fsm.State) bool) error {
	for {
		state, err := n.State()
		if err != nil {
			return err
		}
		_, _, wake := state.Feed().Since(state.Feed().Next(), 0)
		if ok(state) {
			return nil
		}
		select {
		case <-wake:
		case <-time.After(10 * poll): // not everything is a change
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s on %s: %w", what, n.ID, ctx.Err())
		}
	}
}

// WaitDriver waits until a driver satisfies ok on some running node, whichever
// comes first: one of them may be cut off. It returns the driver.
func (c *Cluster) WaitDriver(ctx context.Context, id string, ok func(*fsm.Driver) bool) (d *fsm.Driver, err error) {
	err = Until(ctx, "driver "+id, func() bool {
		for _, n := range c.Running() {
			state, err := n.State()
			if err != nil {
				continue
			}
			if latest, found := state.Driver(id); found {
				d = latest
				if ok(d) {
					return true
				}
			}
		}
		return false
	})
	if err != nil && d != nil {
		err = fmt.Errorf("%w; it is %s (%s) after %d attempts", err, d.State, d.Reason, len(d.Attempts))
	}
	return d, err
}

// StateBytes is the snapshot that the node would write now, with its index.
func (n *Node) StateBytes() (index uint64, data []byte, err error) {
	state, err := n.State()
	if err != nil {
		return 0, nil, err
	}
	view := state.View()
	var b bytes.Buffer
	if _, err := view.WriteTo(&b); err != nil {
		return 0, nil, err
	}
	return view.Index(), b.Bytes(), nil
}

// SameBytes waits until all running nodes stand at the same index, and compares
// their states byte by byte.
func (c *Cluster) SameBytes(ctx context.Context) error {
	if err := c.WaitApplied(ctx); err != nil {
		return err
	}
	for {
		same, differ, err := c.compare()
		if same || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for equal indexes: %s: %w", differ, ctx.Err())
		case <-time.After(poll):
		}
	}
}

func (c *Cluster) compare() (same bool, differ string, err error) {
	var first []byte
	var index uint64
	for i, n := range c.Running() {
		at, data, err := n.StateBytes()
		switch {
		case err != nil:
			return false, "", err
		case i == 0:
			index, first = at, data
		case at != index:
			return false, fmt.Sprintf("%d, and %d on %s", index, at, n.ID), nil
		case !bytes.Equal(first, data):
			return false, "", fmt.Errorf("the states at index %d differ between %s and %s", at, c.Running()[0].ID, n.ID)
		}
	}
	return true, "", nil
}
