package ui

import (
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// frame is what all pages have in common.
type frame struct {
	Name   string // of the template
	Title  string
	Root   string
	Search string
	Alerts []alert
	Read   reading
	Foot   foot
	Style  string
	Script string
	Icon   string
	Body   any
}

// alert tells of something that keeps drivers from running.
type alert struct {
	Serious bool
	Text    string
	Remedy  string
	Command string
}

// reading tells how fresh the page is.
type reading struct {
	Node, Leader string
	Leads        bool
	Stale        bool
	Index, Term  uint64
	At           stamp
	Other        string // the same page, read the other way
}

type foot struct{ Version, Zone string }

func (v *visit) frame(name string, body any) frame {
	now := v.cfg.Clock().In(v.cfg.Location)
	f := frame{
		Name: name, Title: v.title, Root: v.root(), Search: v.search, Body: body,
		Foot:  foot{Version: v.cfg.Version, Zone: now.Format("MST (UTC-07:00)")},
		Style: staticURL("style.css"), Script: staticURL("refresh.js"), Icon: staticURL("icon.svg"),
	}
	if v.view == nil {
		return f
	}
	f.Alerts = v.alerts()
	f.Read = reading{
		Node: v.cfg.NodeID, Leader: v.members.Leader, Leads: v.members.Leader != "" && v.members.Leader == v.cfg.NodeID,
		Stale: v.consistency == dispatcher.Stale, Index: v.view.Index(), Term: v.members.Term, At: v.at(now.UnixMilli()),
	}
	if f.Read.Stale {
		f.Read.Other = v.with("consistency", "linearizable")
	} else {
		f.Read.Other = v.with("consistency", "")
	}
	return f
}

func (v *visit) alerts() []alert {
	var out []alert
	if v.members.Leader == "" {
		out = append(out, alert{Serious: true, Text: "No leader is known: nothing can be submitted or killed, and no driver is launched. Those that run go on.",
			Remedy: "A majority of the nodes must be up and reach each other."})
	}
	down := 0
	for _, n := range v.members.Nodes {
		if !n.Healthy {
			down++
		}
	}
	if down > 0 {
		out = append(out, alert{Text: fmt.Sprintf("%d of %d nodes cannot be reached from here.", down, len(v.members.Nodes)),
			Remedy: "The cluster page says which, and why."})
	}
	return append(out, v.mesosAlerts()...)
}

func (v *visit) mesosAlerts() []alert {
	fw := v.view.Framework()
	because := ""
	if st := v.d.Status(); st.Leading && !st.Subscribed && st.Err != nil {
		because = " The leader says: " + st.Err.Error()
	} else if fw.Message != "" {
		because = " " + fw.Message
	}
	switch fw.State {
	case fsm.FrameworkSubscribed:
		return nil
	case fsm.FrameworkNew:
		return []alert{{Text: "Not registered with Mesos yet: submissions are refused until it is." + because,
			Remedy: "See that the Mesos master is up and that --master names it."}}
	case fsm.FrameworkDisconnected:
		return []alert{{Text: "Not connected to Mesos: drivers that run go on, queued ones wait." + because,
			Remedy: "The leader subscribes again as soon as a Mesos master answers."}}
	default:
		return []alert{{Serious: true, Text: fmt.Sprintf("Framework %s is %s: no driver can be launched under it any more.%s", fw.ID, fw.State, because),
			Remedy: "Register a new framework with", Command: "ha-dispatcher cluster reset-framework"}}
	}
}
