package host

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/backend/internal/propose"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Request identifies what a client asks for, so that asking again is harmless.
type Request struct {
	// Key is the client's idempotency key; empty: the request is never repeated.
	Key string
	// User is who asks, where that is known.
	User string
}

// Receipt is the acknowledgement of a registration.
type Receipt struct {
	ID    string
	Known bool // it was registered before
}

// commandSet is that of the commands which host applications.
const commandSet = 2

// maxKills bounds one request to kill.
const maxKills = 10_000

// Register registers an application, or finds the one with the same id and
// content. It returns when that is committed; Mesos may not know it yet. An
// application without an id and a key is another one each time.
//
// Errors: *InvalidError; *fsm.RefusedError with CodeConflict for other content
// under a known id, CodeTerminated for the id of a stopped one, CodeQueueFull
// beyond Config.MaxApplications, CodeFrameworkID where
// `spark.mesos.driver.frameworkId` is in use, CodeNotReady while a node is older
// than applications; those of the log, raftstore.ErrOutcomeUnknown among them.
func (h *Host) Register(ctx context.Context, a Application, r Request) (Receipt, error) {
	s, err := h.cfg.settle(&a)
	if err != nil {
		return Receipt{}, err
	}
	spec, err := a.encode()
	if err != nil {
		return Receipt{}, err
	}
	s.backend.AppID = "new"
	c, err := h.build(s)
	if err != nil {
		return Receipt{}, err
	}
	if h.cfg.CommandSet() < commandSet {
		return Receipt{}, &fsm.RefusedError{Code: fsm.CodeNotReady, Message: "a node of the cluster is too old to host applications; upgrade all nodes first"}
	}
	stamp := h.stamp("register", r)
	if r.Key != "" {
		sum := sha256.Sum256(append([]byte(a.ID+"\x00"), spec...))
		stamp.Fingerprint = binary.BigEndian.Uint64(sum[:8]) | 1
	}
	set := c.Settings()
	res, err := h.resolve(ctx, fsm.NumberHostApp, stamp, &fsmpb.HostApp{
		IdPrefix: "app-" + h.cfg.Clock().UTC().Format("20060102150405") + "-",
		App: &fsmpb.RegisterApp{
			AppId: a.ID, Name: a.Name, Spec: spec, User: s.user, FrameworkId: set.Framework.ID,
			MaxAgentFailures: backend.MaxAgentFailures, ExcludeMs: set.ExcludeFor.Milliseconds(),
			Totals: []*fsm.ProfileTotal{{Total: set.InitialTotal}},
		},
		FailoverTimeoutMs: s.timeout.Milliseconds(), MaxApps: uint32(h.cfg.MaxApplications),
	})
	if err != nil {
		return Receipt{}, err
	}
	if err := fsm.ResultError(res); err != nil {
		return Receipt{}, err
	}
	return Receipt{ID: res.AppId, Known: res.RepeatedRequest || fsm.Code(res.Code) == fsm.CodeUnchanged}, nil
}

// SetTotals says how many executors are wanted in all. When it returns without an
// error, that is carried out, whatever node fails. Executors beyond the total are
// neither killed nor replaced.
//
// Errors, as of all that follow: ErrNotFound; *InvalidError; *fsm.RefusedError,
// with CodeTerminated where the application is stopped; those of the log.
func (h *Host) SetTotals(ctx context.Context, id string, want backend.Totals, r Request) error {
	a, err := h.app(ctx, id)
	if err != nil {
		return err
	}
	e := h.entry(a)
	if e.err != nil {
		return e.err
	}
	totals, err := e.coarse.Settings().ProfileTotals(want)
	if err != nil {
		return invalidFrom(err, "totals")
	}
	body := &fsmpb.SetTotals{AppId: id, Totals: totals}
	for host, tasks := range want.Hosts {
		if tasks > 0 {
			body.Hosts = append(body.Hosts, host)
		}
	}
	return h.change(ctx, "totals", id, r, fsm.NumberSetTotals, body)
}

// Kill kills these executors, all of them or, with an error, none; that of an
// executor which the application never had is a *fsm.RefusedError with
// CodeNotFound. As long as the total asks for it, others take their place.
func (h *Host) Kill(ctx context.Context, id string, executors []string, r Request) error {
	if len(executors) == 0 || len(executors) > maxKills {
		return invalid("executors", "must name 1 to %d of them", maxKills)
	}
	if _, err := h.app(ctx, id); err != nil {
		return err
	}
	return h.change(ctx, "kill", id, r, fsm.NumberKillExecutors, &fsmpb.KillExecutors{
		AppId: id, TaskIds: executors, Reason: by("asked for by the application", r),
	})
}

// Exclude starts no executor on a host for the given time, or with 0 never again.
// Executors that run there stay.
func (h *Host) Exclude(ctx context.Context, id, host string, d time.Duration, reason string, r Request) error {
	switch {
	case host == "":
		return invalid("host", "is missing")
	case d < 0 || d > 100*365*24*time.Hour:
		return invalid("durationMs", "must be milliseconds from 0, which is for good, to those of 100 years")
	}
	if _, err := h.app(ctx, id); err != nil {
		return err
	}
	body := &fsmpb.ExcludeHost{AppId: id, Host: host, Reason: reason}
	if d > 0 {
		body.UntilMs = h.cfg.Clock().Add(d).UnixMilli()
	}
	return h.change(ctx, "exclude", id, r, fsm.NumberExcludeHost, body)
}

// Admit takes Exclude back.
func (h *Host) Admit(ctx context.Context, id, host string, r Request) error {
	if host == "" {
		return invalid("host", "is missing")
	}
	if _, err := h.app(ctx, id); err != nil {
		return err
	}
	return h.change(ctx, "admit", id, r, fsm.NumberExcludeHost, &fsmpb.ExcludeHost{AppId: id, Host: host, Lift: true})
}

// Stop ends an application for good: its executors are killed, and its framework is
// torn down. It returns when that is committed. Stopping what is stopped is no
// error.
func (h *Host) Stop(ctx context.Context, id, reason string, r Request) error {
	if _, err := h.app(ctx, id); err != nil {
		return err
	}
	if reason == "" {
		reason = by("stopped on request", r)
	}
	return h.change(ctx, "stop", id, r, fsm.NumberStopApp, &fsmpb.StopApp{AppId: id, Reason: reason})
}

func by(text string, r Request) string {
	if r.User != "" {
		text += " of " + r.User
	}
	return text
}

// Heard commits a sign of life of an application's driver.
func (h *Host) Heard(ctx context.Context, id string) error {
	err := h.change(ctx, "", id, Request{}, fsm.NumberKeepApp, &fsmpb.KeepApp{AppId: id})
	var refused *fsm.RefusedError
	if errors.As(err, &refused) && (refused.Code == fsm.CodeNotFound || refused.Code == fsm.CodeIllegal) {
		return ErrNotFound
	}
	return err
}

// app is a hosted application: as this node has it, or, where it has none, once
// this node knows all that was acknowledged.
func (h *Host) app(ctx context.Context, id string) (*fsm.App, error) {
	if a, found := h.cfg.State.App(id); found && a.Hosted() {
		return a, nil
	}
	if err := h.Linearize(ctx); err != nil {
		return nil, err
	}
	if a, found := h.cfg.State.App(id); found && a.Hosted() {
		return a, nil
	}
	return nil, ErrNotFound
}

// Linearize returns when this node has applied all that was acknowledged, by
// whichever node, before the call. Errors: those of the log.
func (h *Host) Linearize(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.RequestWait)
	defer cancel()
	for {
		_, err := h.cfg.Log.Linearize(ctx)
		if err == nil || !propose.Transient(err) || h.cfg.Log.WaitLeader(ctx) != nil || !propose.Sleep(ctx, time.Millisecond) {
			return err
		}
	}
}

func (h *Host) change(ctx context.Context, kind, id string, r Request, n fsm.Number, body proto.Message) error {
	res, err := h.resolve(ctx, n, h.stamp(kind+" "+id, r), body)
	if err != nil {
		return err
	}
	if fsm.Code(res.Code) == fsm.CodeMalformed {
		return invalid(kind, "%s", res.Message)
	}
	return fsm.ResultError(res)
}

func (h *Host) resolve(ctx context.Context, n fsm.Number, s fsm.Stamp, body proto.Message) (*fsmpb.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.RequestWait)
	defer cancel()
	res, err := propose.Until(ctx, h.cfg.Log, n, s, body)
	if err != nil {
		return nil, fmt.Errorf("applications: %w", err)
	}
	return res, nil
}

// stamp identifies a request: by the client's key, or as one of its own.
func (h *Host) stamp(kind string, r Request) fsm.Stamp {
	s := fsm.Stamp{RequestID: fsm.RequestID(uuid.New()), TimeMs: h.cfg.Clock().UnixMilli()}
	if r.Key != "" {
		sum := sha256.Sum256([]byte("app " + kind + "\x00" + r.Key))
		s.RequestID = fsm.RequestID(sum[:16])
	}
	return s
}
