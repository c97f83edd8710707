package ui

import (
	"net/url"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// history is the page of an attempt's application in the history server: its
// id is the framework id that the attempt registered with.
func (p *Pages) history(a *fsm.Attempt) string {
	if p.cfg.HistoryServerURL == "" || a == nil || a.FrameworkID == "" || a.Dropped {
		return ""
	}
	return p.cfg.HistoryServerURL + "/history/" + url.PathEscape(a.FrameworkID)
}

// sandbox is the directory of an attempt in the web UI of Mesos. The executor
// of a command task has the id of the task.
func (p *Pages) sandbox(a *fsm.Attempt, current string) string {
	if p.cfg.ProxyBaseURL == "" || a == nil || a.AgentID == "" || a.Dropped {
		return ""
	}
	return p.cfg.ProxyBaseURL + "/#/agents/" + url.PathEscape(a.AgentID) +
		"/frameworks/" + url.PathEscape(launchedBy(a, current)) +
		"/executors/" + url.PathEscape(a.TaskID) + "/browse"
}

// launchedBy is the dispatcher's framework id that an attempt was launched
// under. It is part of the driver's own, and another one than today's where the
// framework was reset since.
func launchedBy(a *fsm.Attempt, current string) string {
	if id, found := strings.CutSuffix(a.FrameworkID, "-"+a.TaskID); found {
		return id
	}
	return current
}
