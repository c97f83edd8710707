package fsm

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// The limits of hosted applications, part of the log's contract as those in
// limits.go.
const (
	maxSpec          = 1 << 20 // bytes of the specification of one
	retainedApps     = 200     // that are over
	retainedAppBytes = 64 << 20
)

// applyHostApp registers an application, or finds the one that was registered
// with the very same specification. Executors that run were made from it, so
// another specification is another application and needs an id of its own.
func applyHostApp(t *txn, c *fsmpb.HostApp) *fsmpb.Result {
	if c.App == nil {
		return refuse(CodeMalformed, "no application to host")
	}
	if c.App.AppId == "" {
		c.App.AppId = t.freeAppID(c.IdPrefix)
	}
	if why := invalidHosted(c); why != "" {
		return refuse(CodeMalformed, "%s", why)
	}
	if old, found := t.t.apps.Get(c.App.AppId); found {
		return t.hostAgain(old, c)
	}
	if fw := c.App.FrameworkId; fw != "" && t.frameworkInUse(fw) {
		return refuse(CodeFrameworkID, "framework id %s is in use; leave it out and Mesos chooses one", fw)
	}
	if live := t.liveHosted(); c.MaxApps > 0 && live >= int(c.MaxApps) {
		return refuse(CodeQueueFull, "%d applications are hosted already; stop one", live)
	}
	t.forgetHosted()
	if t.t.apps.Len() >= maxApps && !t.forgetApp() {
		return refuse(CodeQueueFull, "%d applications are registered already; stop one", maxApps)
	}
	a := t.appOf(c.App)
	a.FailoverTimeoutMs, a.Heard, a.HeardMs = c.FailoverTimeoutMs, 1, t.timeMs
	t.addApp(a)
	return &fsmpb.Result{AppId: a.ID}
}

func invalidHosted(c *fsmpb.HostApp) string {
	switch {
	case c.FailoverTimeoutMs <= 0 || !validTime(c.FailoverTimeoutMs):
		return "failover timeout of the application is out of range"
	case len(c.App.Spec) > maxSpec:
		return fmt.Sprintf("specification of the application is longer than %d bytes", maxSpec)
	}
	return invalidApp(c.App)
}

// freeAppID is the prefix and the place in the order of registration, or the next
// number that no client has taken as its own.
func (t *txn) freeAppID(prefix string) string {
	for n := t.s.nextAppSeq; ; n++ {
		id := fmt.Sprintf("%s%04d", prefix, n)
		if _, taken := t.t.apps.Get(id); !taken {
			return id
		}
	}
}

func (t *txn) hostAgain(old *App, c *fsmpb.HostApp) *fsmpb.Result {
	switch {
	case old.Stopped:
		return refuse(CodeTerminated, "application %s is stopped; register under another id", old.ID)
	case !old.Hosted() || !bytes.Equal(old.Spec, c.App.Spec):
		return refuse(CodeConflict, "application %s is registered with other properties; register under another id, or stop it first", old.ID)
	}
	t.heard(old)
	return &fsmpb.Result{Code: uint32(CodeUnchanged), AppId: old.ID}
}

// frameworkInUse tells whether a framework id is the cluster's or that of an
// application that is not over: a second subscription would cut off the first.
func (t *txn) frameworkInUse(id string) bool {
	inUse := t.s.framework.ID == id
	t.t.apps.Scan(func(_ string, a *App) bool {
		inUse = inUse || a.Framework.ID == id && !a.Over()
		return !inUse
	})
	return inUse
}

// liveHosted counts the hosted applications that are not over.
func (t *txn) liveHosted() (live int) {
	t.t.apps.Scan(func(_ string, a *App) bool {
		if a.Hosted() && !a.Over() {
			live++
		}
		return true
	})
	return live
}

// forgetHosted makes room for one more among the hosted applications that are
// kept though they are over.
func (t *txn) forgetHosted() {
	var over []*App
	size := 0
	t.t.apps.Scan(func(_ string, a *App) bool {
		if a.Hosted() && a.Over() {
			over = append(over, a)
			size += len(a.Spec)
		}
		return true
	})
	slices.SortFunc(over, func(a, b *App) int { return cmp.Compare(a.Seq, b.Seq) })
	for len(over) >= retainedApps || size > retainedAppBytes {
		size -= len(over[0].Spec)
		t.dropApp(over[0])
		over = over[1:]
	}
}

// heard notes a sign of life. It is no change that the feed tells of: signs come
// often, and nobody waits for one. Its number counts and not its time, because
// the nodes that stamp it have clocks of their own.
func (t *txn) heard(a *App) {
	next := *a
	next.Heard++
	next.HeardMs = max(a.HeardMs, t.timeMs)
	t.t.apps.Set(next.ID, &next)
}

// hosted is the hosted application, or a refusal.
func (t *txn) hosted(id string) (*App, *fsmpb.Result) {
	a, r := t.goingOn(id)
	if r == nil && !a.Hosted() {
		return nil, refuse(CodeIllegal, "application %s is not hosted here", a.ID)
	}
	return a, r
}

func applyKeepApp(t *txn, c *fsmpb.KeepApp) *fsmpb.Result {
	a, r := t.hosted(c.AppId)
	if r != nil {
		return r
	}
	t.heard(a)
	return &fsmpb.Result{AppId: a.ID}
}

// applyExpireApp stops an application whose driver stayed away. A sign of life
// that came in between wins.
func applyExpireApp(t *txn, c *fsmpb.ExpireApp) *fsmpb.Result {
	a, r := t.hosted(c.AppId)
	if r != nil {
		return r
	}
	if a.Heard != c.Heard {
		return refuse(CodeConflict, "the driver of application %s was heard of meanwhile", a.ID)
	}
	t.stopApp(a, c.Reason)
	return &fsmpb.Result{AppId: a.ID}
}
