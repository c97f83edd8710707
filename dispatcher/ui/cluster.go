package ui

import (
	"strconv"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

type clusterBody struct {
	Nodes     []member
	Raft      []pair
	Framework []pair
	FwState   fsm.FrameworkState
	Policy    []pair
	Voters    int
	Needed    int // for a majority
}

// member is one node in the table of the cluster page.
type member struct {
	ID, Role    string
	This        bool
	Healthy     bool
	Problem     string
	LastContact stamp
	Ago         string
	WebUI       string
	REST        string
	Raft        string
	Version     string
}

func (v *visit) cluster() (any, error) {
	v.title = "Cluster"
	c := v.members
	body := &clusterBody{FwState: v.view.Framework().State}
	now := v.cfg.Clock()
	for _, n := range c.Nodes {
		m := member{
			ID: n.ID, Role: "follower", This: n.ID == v.cfg.NodeID, Healthy: n.Healthy, Problem: n.Problem,
			REST: n.REST, Raft: n.Raft, Version: n.Version,
		}
		switch {
		case n.ID == c.Leader:
			m.Role = "leader"
		case !n.Voter:
			m.Role = "non-voter"
		}
		if n.Voter {
			body.Voters++
		}
		if !m.This && !n.LastContact.IsZero() {
			m.LastContact, m.Ago = v.at(n.LastContact.UnixMilli()), span(n.LastContact.UnixMilli(), now.UnixMilli())+" ago"
		}
		if followable(n.WebUI) {
			m.WebUI = n.WebUI
		}
		body.Nodes = append(body.Nodes, m)
	}
	body.Needed = body.Voters/2 + 1
	body.Raft = []pair{
		{Name: "Leader", Value: orDash(c.Leader)},
		{Name: "Term", Value: strconv.FormatUint(c.Term, 10)},
		{Name: "Commit index", Value: grouped(c.CommitIndex)},
		{Name: "Applied index of this node", Value: grouped(v.view.Index())},
	}
	body.Framework = v.framework(now)
	body.Policy = v.policy()
	return body, nil
}

func (v *visit) framework(now time.Time) []pair {
	fw := v.view.Framework()
	out := []pair{
		{Name: "Mesos Framework ID", Value: orDash(fw.ID)},
		{Name: "Mesos master", Value: orDash(fw.Master)},
		{Name: "In this state since", At: v.at(fw.SinceMs)},
	}
	if fw.Message != "" {
		out = append(out, pair{Name: "Message", Value: fw.Message})
	}
	st := v.d.Status()
	switch {
	case !st.Leading:
		out = append(out, pair{Name: "Subscription", Value: "held by the leader"})
	case st.Subscribed:
		out = append(out, pair{Name: "Subscription", Value: "held by this node for " + span(st.Since.UnixMilli(), now.UnixMilli())})
	default:
		out = append(out, pair{Name: "Subscription", Value: "this node leads and tries to subscribe"})
		if st.Err != nil {
			out = append(out, pair{Name: "Last error", Value: st.Err.Error()})
		}
	}
	return out
}

func (v *visit) policy() []pair {
	p := v.view.Policy()
	c := v.view.Counts()
	queue := grouped(c.Waiting) + " of at most " + grouped(int(p.MaxDrivers))
	if p.MaxDriversCountsLaunched {
		queue = grouped(c.Waiting+c.Active) + " of at most " + grouped(int(p.MaxDrivers)) + ", launched ones included"
	}
	limit := "none"
	if p.MaxRetries > 0 {
		limit = strconv.Itoa(int(p.MaxRetries))
	}
	return []pair{
		{Name: "Queued drivers", Value: queue},
		{Name: "Launched drivers", Value: grouped(c.Active)},
		{Name: "Waiting for retry", Value: grouped(c.Retrying)},
		{Name: "Finished drivers kept", Value: grouped(c.Finished) + " of at most " + grouped(int(p.RetainedDrivers))},
		{Name: "Longest pause before a retry", Value: strconv.Itoa(int(p.RetryWaitMaxS)) + " s"},
		{Name: "Retry limit", Value: limit},
	}
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}
