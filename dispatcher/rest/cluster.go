package rest

import "github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"

// cluster answers GET /v1/cluster with what this node knows, leader or not.
func (x *exchange) cluster() {
	if f := x.admit(); f != nil {
		x.fail(f)
		return
	}
	c, err := x.s.backend.Cluster(x.r.Context())
	if err != nil {
		x.failWith(err)
		return
	}
	out := api.Cluster{
		Leader: c.Leader, Term: c.Term, CommitIndex: c.CommitIndex, AppliedIndex: c.AppliedIndex,
		Nodes:     make([]api.ClusterNode, 0, len(c.Nodes)),
		Framework: api.Framework{ID: c.Framework.ID, State: c.Framework.State, Master: c.Framework.Master},
	}
	for _, n := range c.Nodes {
		out.Nodes = append(out.Nodes, api.ClusterNode{
			ID: n.ID, Raft: n.Raft, REST: n.REST, WebUI: n.WebUI, Version: n.Version, Voter: n.Voter,
			Healthy: n.Healthy, LastContact: n.LastContact.UTC(), Problem: n.Problem,
		})
	}
	x.replyJSON(out)
}
