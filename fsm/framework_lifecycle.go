package fsm

import looplab "github.com/looplab/fsm"

// FrameworkState is where our registration with Mesos stands.
type FrameworkState string

// The states of the framework.
const (
	FrameworkNew          FrameworkState = "NEW"          // never subscribed, or reset by an operator
	FrameworkSubscribed   FrameworkState = "SUBSCRIBED"   // a leader holds the subscription
	FrameworkDisconnected FrameworkState = "DISCONNECTED" // the last leader to hold it lost it
	FrameworkTornDown     FrameworkState = "TORN_DOWN"    // we gave it up
	FrameworkRemoved      FrameworkState = "REMOVED"      // Mesos says that it has been removed
)

// The events of the framework.
const (
	FrameworkSubscribe  = "subscribe"  // Mesos accepted the subscription
	FrameworkDisconnect = "disconnect" // the subscription broke
	FrameworkRemove     = "remove"     // Mesos refuses the id for good
	FrameworkTearDown   = "tear_down"  // an operator ends the framework
	FrameworkReset      = "reset"      // an operator allows a new id
)

// frameworkLifecycle builds the table of the framework. Only an operator leads
// out of REMOVED and TORN_DOWN: a new id while drivers may run under the old
// one would make them orphans.
func frameworkLifecycle() *Lifecycle {
	var (
		fresh = string(FrameworkNew)
		sub   = string(FrameworkSubscribed)
		disc  = string(FrameworkDisconnected)
		torn  = string(FrameworkTornDown)
		gone  = string(FrameworkRemoved)
	)
	return newLifecycle("framework", fresh, []string{fresh, sub, disc, torn, gone},
		looplab.Events{
			{Name: FrameworkSubscribe, Src: []string{fresh, sub, disc}, Dst: sub},
			{Name: FrameworkDisconnect, Src: []string{sub, disc}, Dst: disc},
			{Name: FrameworkRemove, Src: []string{sub, disc, gone}, Dst: gone},
			{Name: FrameworkTearDown, Src: []string{sub, disc}, Dst: torn},
			{Name: FrameworkReset, Src: []string{torn, gone}, Dst: fresh},
		})
}
