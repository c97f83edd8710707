package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// recorded is one exchange with Spark's own dispatcher 3.5.1. Java stack traces
// are cut to their first line, pages of HTML to their title.
type recorded struct {
	Name, Method, Path, Type, Body string
	Chunked                        bool
	Status                         int
	ReplyType, Reply               string
}

func recordings(t testing.TB) []recorded {
	t.Helper()
	f, err := os.Open("testdata/golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []recorded
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r recorded
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// difference is a deliberate one: another status, or another text.
type difference struct {
	status int
	text   string // that our reply contains; empty: no body is expected
	reason string
	used   bool
}

func differences(t *testing.T) map[string]*difference {
	t.Helper()
	raw, err := os.ReadFile("testdata/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*difference{}
	for _, line := range strings.Split(string(raw), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		columns := strings.Split(line, " | ")
		if len(columns) != 4 {
			t.Fatalf("line %q has not four columns", line)
		}
		status, err := strconv.Atoi(strings.TrimSpace(columns[1]))
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSpace(columns[0])] = &difference{status: status, text: strings.TrimSpace(columns[2]), reason: columns[3]}
	}
	return all
}

// player is a Dispatcher that is in the state which the recorded reply shows.
type player struct {
	*node
	t     *testing.T
	reply map[string]any
	// killed: the recording asks for a driver that was killed while it waited.
	killed bool
}

var afterKill = map[string]bool{
	"curl/087-queued-status-after-kill-GET": true, "curl/088-queued-kill-again-POST": true,
	"supervise/004-status-after-kill-FAILED-GET": true,
}

func (p *player) Submit(_ context.Context, s launch.Submission, _ dispatcher.Request) (dispatcher.Receipt, error) {
	if _, _, err := launch.Describe(launchConf, s); err != nil {
		return dispatcher.Receipt{}, err
	}
	if message, refused := p.reply["message"].(string); refused {
		return dispatcher.Receipt{}, &fsm.RefusedError{Code: fsm.CodeQueueFull, Message: message}
	}
	id, replied := p.reply["submissionId"].(string)
	if !replied {
		id = "driver-20261122112319-0001"
	}
	return dispatcher.Receipt{DriverID: id}, nil
}

func (p *player) Kill(context.Context, string, dispatcher.Request) (dispatcher.KillReceipt, error) {
	if p.killed {
		return dispatcher.KillReceipt{Code: fsm.CodeTerminated, Message: "Driver already terminated"}, nil
	}
	message, _ := p.reply["message"].(string)
	success, _ := p.reply["success"].(bool)
	return dispatcher.KillReceipt{Success: success, Message: message}, nil
}

func (p *player) Driver(_ context.Context, id string, _ dispatcher.Consistency) (*fsm.Driver, error) {
	if p.killed {
		return &fsm.Driver{ID: id, State: fsm.DriverKilled, Reason: "killed on request"}, nil
	}
	state, _ := p.reply["driverState"].(string)
	if state == "NOT_FOUND" {
		return nil, dispatcher.ErrNotFound
	}
	d := &fsm.Driver{ID: id, State: fsm.DriverState(state)}
	if text, dumped := p.reply["message"].(string); dumped {
		d.Attempts = []*fsm.Attempt{{Last: parseStatusText(p.t, text)}}
	}
	return d, nil
}

func TestReplaysWhatSparksDispatcherAnswered(t *testing.T) {
	deliberate := differences(t)
	for _, r := range recordings(t) {
		t.Run(r.Name, func(t *testing.T) {
			p := &player{node: newNode(), t: t, killed: afterKill[r.Name]}
			_ = json.Unmarshal([]byte(r.Reply), &p.reply)
			req := httptest.NewRequest(r.Method, r.Path, strings.NewReader(r.Body))
			req.Header.Set("Content-Type", r.Type)
			if r.Chunked {
				req.ContentLength = -1
			}
			w := httptest.NewRecorder()
			newServer(t, testConfig(), p).ServeHTTP(w, req)
			d := deliberate[path.Base(r.Name)]
			if d == nil {
				d = deliberate[r.Name]
			}
			if d == nil {
				compare(t, r, w)
				return
			}
			d.used = true
			compareDifferent(t, r, d, w)
		})
	}
	for name, d := range deliberate {
		if !d.used {
			t.Errorf("difference %s belongs to no recording", name)
		}
	}
}

func compare(t *testing.T, r recorded, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != r.Status {
		t.Errorf("status %d, Spark's is %d; body %s", w.Code, r.Status, w.Body)
	}
	if diff := cmp.Diff(r.Reply, w.Body.String()); diff != "" {
		t.Errorf("body differs from Spark's, byte for byte (-Spark +ours):\n%s", diff)
	}
	if got := w.Header().Get("Content-Type"); r.Reply != "" && got != r.ReplyType {
		t.Errorf("content type %q, Spark's is %q", got, r.ReplyType)
	}
}

func compareDifferent(t *testing.T, r recorded, d *difference, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != d.status {
		t.Errorf("status %d, want %d; body %s", w.Code, d.status, w.Body)
	}
	if w.Code == r.Status && w.Body.String() == r.Reply {
		t.Error("there is no difference")
	}
	if r.Method != http.MethodHead && !json.Valid(w.Body.Bytes()) {
		t.Errorf("body is not JSON: %s", w.Body)
	}
	if !strings.Contains(w.Body.String(), d.text) {
		t.Errorf("body lacks %q: %s", d.text, w.Body)
	}
	for _, java := range []string{`\n\t`, "Exception", "<html"} {
		if strings.Contains(w.Body.String(), java) {
			t.Errorf("body shows the implementation (%s): %s", java, w.Body)
		}
	}
}
