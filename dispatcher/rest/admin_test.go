package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// adminNode is a node that takes down what operators ask of it.
type adminNode struct {
	*node
	asked []string
	err   error
	text  string
}

func (a *adminNode) note(format string, args ...any) error {
	a.asked = append(a.asked, fmt.Sprintf(format, args...))
	return a.err
}

func (a *adminNode) Join(_ context.Context, id, addr string, voter bool) error {
	return a.note("join %s %s %t", id, addr, voter)
}
func (a *adminNode) Remove(_ context.Context, id string) error   { return a.note("remove %s", id) }
func (a *adminNode) Transfer(_ context.Context, to string) error { return a.note("transfer %q", to) }
func (a *adminNode) ResetFramework(context.Context) error        { return a.note("reset") }

func (a *adminNode) SaveSnapshot(_ context.Context, w io.Writer) error {
	if _, err := io.WriteString(w, a.text); err != nil {
		return err
	}
	return a.note("save")
}

func (a *adminNode) RestoreSnapshot(_ context.Context, r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return a.note("restore %s", raw)
}

func TestOperatorsReachTheCluster(t *testing.T) {
	for _, tc := range []struct {
		method, path, body string
		status             int
		asked              string
	}{
		{http.MethodPost, "/v1/cluster/join", `{"id":"n4","raft":"h:1"}`, 200, "join n4 h:1 true"},
		{http.MethodPost, "/v1/cluster/join", `{"id":"n4","raft":"h:1","nonVoter":true}`, 200, "join n4 h:1 false"},
		{http.MethodPost, "/v1/cluster/join", `{"id":"n4"}`, 400, ""},
		{http.MethodPost, "/v1/cluster/join", `{`, 400, ""},
		{http.MethodPost, "/v1/cluster/remove", `{"id":"n4"}`, 200, "remove n4"},
		{http.MethodPost, "/v1/cluster/remove", ``, 400, ""},
		{http.MethodPost, "/v1/cluster/transfer", ``, 200, `transfer ""`},
		{http.MethodPost, "/v1/cluster/transfer", `{"to":"n2"}`, 200, `transfer "n2"`},
		{http.MethodPost, "/v1/cluster/reset-framework", ``, 200, "reset"},
		{http.MethodPost, "/v1/cluster/restore", `archive`, 200, "restore archive"},
		{http.MethodGet, "/v1/cluster/snapshot", ``, 200, "save"},
		{http.MethodGet, "/v1/cluster/join", ``, 405, ""},
	} {
		n := &adminNode{node: newNode(), text: "archive"}
		w := do(newServer(t, testConfig(), n), tc.method, tc.path, tc.body)
		if got := strings.Join(n.asked, "; "); w.Code != tc.status || got != tc.asked {
			t.Errorf("%s %s %s: %d, asked %q; want %d, %q\n%s", tc.method, tc.path, tc.body, w.Code, got, tc.status, tc.asked, w.Body)
		}
	}
}

func TestWhatOperatorsMustNotDoIsAConflict(t *testing.T) {
	for _, err := range []error{
		raftstore.ErrUnknownMember, raftstore.ErrWrongNode, raftstore.ErrTimersDiffer,
		raftstore.ErrUntrusted, raftstore.ErrBadSnapshot, raftstore.ErrWrongVersion,
	} {
		n := &adminNode{node: newNode(), err: fmt.Errorf("n9: %w", err)}
		w := do(newServer(t, testConfig(), n), http.MethodPost, "/v1/cluster/remove", `{"id":"n9"}`)
		if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), err.Error()) {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}

// A snapshot that breaks off must not look whole.
func TestASnapshotThatBreaksOffBreaksTheConnection(t *testing.T) {
	n := &adminNode{node: newNode(), text: "half", err: errors.New("disk")}
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("the reply was ended as if it were whole")
		}
	}()
	do(newServer(t, testConfig(), n), http.MethodGet, "/v1/cluster/snapshot", "")
}

func TestANodeWithoutAdministrationSaysSo(t *testing.T) {
	w := do(newServer(t, testConfig(), newNode()), http.MethodPost, "/v1/cluster/transfer", "")
	if w.Code != http.StatusNotImplemented {
		t.Errorf("got %d", w.Code)
	}
}
