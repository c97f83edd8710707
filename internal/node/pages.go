package node

import (
	"net/http"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/ui"
)

const (
	keyHistoryURL = "spark.mesos.dispatcher.historyServer.url"
	keyProxyURL   = "spark.mesos.proxy.baseURL"
)

func (c *Config) uiConfig() ui.Config {
	return ui.Config{
		NodeID: c.ID, Version: c.Version, Logger: c.Logger,
		HistoryServerURL: c.Spark.Text(keyHistoryURL, ""), ProxyBaseURL: c.Spark.Text(keyProxyURL, ""),
	}
}

// pages are the web pages of the node.
func (n *Node) pages() (http.Handler, error) {
	cfg := n.cfg.uiConfig()
	cfg.RESTURL = n.RESTURL()
	return ui.New(cfg, n.leader)
}
