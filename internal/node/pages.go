package node

import (
	"net/http"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/ui"
)

const (
	keyHistoryURL = "spark.mesos.dispatcher.historyServer.url"
	keyProxyURL   = "spark.mesos.proxy.baseURL"
)

// pages are the web pages of the node. A wrong address in the properties costs
// the links that it would lead to, not the node.
func (n *Node) pages() http.Handler {
	cfg := ui.Config{
		NodeID: n.cfg.ID, Version: n.cfg.Version, RESTURL: n.RESTURL(),
		HistoryServerURL: n.cfg.Spark.Text(keyHistoryURL, ""), ProxyBaseURL: n.cfg.Spark.Text(keyProxyURL, ""),
		Logger: n.cfg.Logger,
	}
	pages, err := ui.New(cfg, n.leader)
	if err != nil {
		n.cfg.Logger.Warn("the pages have no links to the history server and to sandboxes", "error", err)
		cfg.HistoryServerURL, cfg.ProxyBaseURL = "", ""
		if pages, err = ui.New(cfg, n.leader); err != nil {
			return http.NotFoundHandler()
		}
	}
	return pages
}
