package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Check is one thing that must hold for a node to be ready.
type Check struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Message string `json:"message,omitempty"`
}

// Ready tells whether this node can take submissions, and what is missing.
func (n *Node) Ready() (bool, []Check) {
	checks := []Check{n.checkLeader(), n.checkMesos()}
	ready := true
	for _, c := range checks {
		ready = ready && c.OK
	}
	return ready, checks
}

func (n *Node) checkLeader() Check {
	m, term, known := n.store.Leader()
	if !known {
		return Check{"leader", false, "no leader is known; a majority of the nodes must be up and reach each other"}
	}
	return Check{"leader", true, fmt.Sprintf("%s in term %d", m.ID, term)}
}

func (n *Node) checkMesos() Check {
	fw := n.state.Framework()
	c := Check{Name: "mesos", OK: fw.State == fsm.FrameworkSubscribed}
	switch fw.State {
	case fsm.FrameworkSubscribed:
		c.Message = fmt.Sprintf("framework %s subscribed at %s", fw.ID, fw.Master)
	case fsm.FrameworkNew:
		c.Message = fmt.Sprintf("no leader has subscribed to mesos at %s yet", n.cfg.masterText())
		if err := n.service.AwaitsImport(); err != nil {
			c.Message = err.Error()
		}
	case fsm.FrameworkRemoved, fsm.FrameworkTornDown:
		c.Message = fmt.Sprintf("framework %s is %s: go on with 'ha-dispatcher cluster reset-framework'", fw.ID, fw.State)
		return c
	default:
		c.Message = fmt.Sprintf("framework is %s", fw.State)
		if fw.Message != "" {
			c.Message += ": " + fw.Message
		}
	}
	if st := n.leader.Status(); st.Leading && !st.Subscribed {
		c.OK = false
		c.Message = fmt.Sprintf("the leader is not subscribed to mesos at %s", n.cfg.masterText())
		if st.Err != nil {
			c.Message += ": " + st.Err.Error()
		}
	}
	return c
}

// webHandler serves the pages to those who may read. Whether the node is well
// may be asked by anybody: load balancers and supervisors have no tokens.
func (n *Node) webHandler() (http.Handler, error) {
	pages, err := n.pages()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", n.serveReady)
	guarded := func(pattern string, h http.Handler) { mux.Handle(pattern, n.rest.GuardReads(h)) }
	guarded("GET /metrics", promhttp.HandlerFor(n.cfg.Registry, promhttp.HandlerOpts{Registry: n.cfg.Registry}))
	if n.cfg.Profiling {
		guarded("GET /debug/pprof/", http.HandlerFunc(pprof.Index))
		guarded("GET /debug/pprof/profile", http.HandlerFunc(pprof.Profile))
		guarded("GET /debug/pprof/trace", http.HandlerFunc(pprof.Trace))
	}
	guarded("/", pages)
	return mux, nil
}

func (n *Node) serveReady(w http.ResponseWriter, _ *http.Request) {
	ready, checks := n.Ready()
	w.Header().Set("Content-Type", "application/json")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": ready, "node": n.cfg.ID, "checks": checks})
}
