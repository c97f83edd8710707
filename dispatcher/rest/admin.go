package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Admin is what operators ask for. A Dispatcher that implements it as well
// serves the routes below /v1/cluster/; all of them ask for the access of a
// state change, the snapshot too, because it holds every submission.
type Admin interface {
	Join(ctx context.Context, id, raftAddr string, voter bool) error
	Remove(ctx context.Context, id string) error
	Transfer(ctx context.Context, to string) error
	ResetFramework(ctx context.Context) error
	SaveSnapshot(ctx context.Context, w io.Writer) error
	RestoreSnapshot(ctx context.Context, r io.Reader) error
}

// changeLimit bounds a change of the membership: a node that joins has to catch
// up first.
const changeLimit = 2 * time.Minute

func (x *exchange) join() {
	x.change(func(ctx context.Context, a Admin, c *api.ClusterChange) error {
		return a.Join(ctx, c.ID, c.Raft, !c.NonVoter)
	}, "id", "raft")
}

func (x *exchange) remove() {
	x.change(func(ctx context.Context, a Admin, c *api.ClusterChange) error { return a.Remove(ctx, c.ID) }, "id")
}

func (x *exchange) transfer() {
	x.change(func(ctx context.Context, a Admin, c *api.ClusterChange) error { return a.Transfer(ctx, c.To) })
}

func (x *exchange) resetFramework() {
	x.change(func(ctx context.Context, a Admin, _ *api.ClusterChange) error { return a.ResetFramework(ctx) })
}

// change reads what is to be changed, changes it, and answers with the cluster
// as it is then.
func (x *exchange) change(do func(context.Context, Admin, *api.ClusterChange) error, wanted ...string) {
	c, f := x.readChange(wanted)
	a, f2 := x.admin()
	if f == nil {
		f = f2
	}
	if f != nil {
		x.fail(f)
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), changeLimit)
	defer cancel()
	if err := do(ctx, a, c); err != nil {
		x.failAdmin(err)
		return
	}
	x.cluster()
}

func (x *exchange) readChange(wanted []string) (*api.ClusterChange, *failure) {
	body, release, f := x.body()
	if f != nil {
		return nil, f
	}
	defer release()
	c := new(api.ClusterChange)
	if len(body) > 0 {
		if err := json.Unmarshal(body, c); err != nil {
			return nil, badRequest("%v", err)
		}
	}
	for _, field := range wanted {
		if field == "id" && c.ID == "" || field == "raft" && c.Raft == "" {
			return nil, badRequest("'%s' is missing", field)
		}
	}
	return c, nil
}

func (x *exchange) admin() (Admin, *failure) {
	a, ok := x.s.backend.(Admin)
	if !ok {
		return nil, &failure{status: http.StatusNotImplemented, message: "This node does not offer administration.", outcome: notExecuted}
	}
	return a, nil
}

// failAdmin answers with the errors that only administration meets.
func (x *exchange) failAdmin(err error) {
	switch {
	case errors.Is(err, raftstore.ErrUnknownMember), errors.Is(err, raftstore.ErrWrongNode),
		errors.Is(err, raftstore.ErrTimersDiffer), errors.Is(err, raftstore.ErrUntrusted),
		errors.Is(err, raftstore.ErrBadSnapshot), errors.Is(err, raftstore.ErrWrongVersion):
		x.fail(&failure{status: http.StatusConflict, message: err.Error(), outcome: notExecuted})
	default:
		x.failWith(err)
	}
}

// saveSnapshot streams an archive of the whole state.
func (x *exchange) saveSnapshot() {
	a, f := x.admin()
	if f != nil {
		x.fail(f)
		return
	}
	w := &streamWriter{x: x}
	err := a.SaveSnapshot(x.r.Context(), w)
	switch {
	case err == nil:
	case w.begun:
		x.s.log.Warn("snapshot was cut short", "err", err)
		panic(http.ErrAbortHandler) // the client must not take it for whole
	default:
		x.failAdmin(err)
	}
}

// streamWriter sends a body of unknown length and gives the client new time for
// each part of it.
type streamWriter struct {
	x     *exchange
	begun bool
}

func (w *streamWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.begun = true
		w.x.status = http.StatusOK
		w.x.w.Header().Set("Content-Type", "application/octet-stream")
	}
	w.x.deadline()
	return w.x.w.Write(p)
}

// restoreSnapshot replaces the whole state by an archive.
func (x *exchange) restoreSnapshot() {
	a, f := x.admin()
	if f != nil {
		x.fail(f)
		return
	}
	if err := a.RestoreSnapshot(x.r.Context(), &streamReader{x: x, left: maxArchive}); err != nil {
		x.failAdmin(err)
		return
	}
	x.cluster()
}

// maxArchive bounds an archive that is to be restored.
const maxArchive = 8 << 30

type streamReader struct {
	x    *exchange
	left int64
}

func (r *streamReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errors.New("the archive is too large")
	}
	limits := r.x.s.cfg.Limits
	// Without a connection behind the writer there is no deadline to set.
	_ = http.NewResponseController(r.x.w).SetReadDeadline(time.Now().Add(limits.ReadTimeout))
	n, err := r.x.r.Body.Read(p)
	r.left -= int64(n)
	return n, err
}
