package node

import (
	"fmt"
	"net/http"
)

// pages are the web pages of the node.
func (n *Node) pages() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "ha-dispatcher node %s\n%s/v1/drivers\n%s/v1/cluster\n/readyz\n/metrics\n", n.cfg.ID, n.RESTURL(), n.RESTURL())
	})
}
