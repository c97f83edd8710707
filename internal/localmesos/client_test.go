package localmesos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		runOrphanHelper()
		return
	}
	if os.Getenv(executorEnv) != "" {
		runTestExecutor()
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = 20 * time.Second // never waited for when all is well

var (
	bothMedia = []encoding.MediaType{codecs.MediaTypeProtobuf, codecs.MediaTypeJSON}
	noFilter  = &mesos.Filters{RefuseSeconds: new(float64)}
)

func start(t *testing.T, opts localmesos.Options) *localmesos.Mesos {
	t.Helper()
	m, err := localmesos.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// framework is a scheduler made of nothing but HTTP.
type framework struct {
	t      *testing.T
	addr   string
	media  encoding.MediaType
	info   *mesos.FrameworkInfo
	id     string
	stream string
	events chan *scheduler.Event // closed with the stream
	stop   context.CancelFunc
	offers []mesos.Offer // received, not yet asked for
}

func aware(caps ...mesos.FrameworkInfo_Capability_Type) *mesos.FrameworkInfo {
	timeout := 3600.0
	info := &mesos.FrameworkInfo{User: "u", Name: "test", Roles: []string{"*"}, FailoverTimeout: &timeout}
	for _, c := range append(caps, mesos.FrameworkInfo_Capability_MULTI_ROLE, mesos.FrameworkInfo_Capability_PARTITION_AWARE,
		mesos.FrameworkInfo_Capability_TASK_KILLING_STATE) {
		info.Capabilities = append(info.Capabilities, mesos.FrameworkInfo_Capability{Type: c})
	}
	return info
}

func plainInfo() *mesos.FrameworkInfo {
	timeout := 3600.0
	return &mesos.FrameworkInfo{User: "u", Name: "test", FailoverTimeout: &timeout}
}

func encode(t *testing.T, call *scheduler.Call, media encoding.MediaType) []byte {
	t.Helper()
	b, err := proto.Marshal(call)
	if media == codecs.MediaTypeJSON {
		b, err = json.Marshal(call)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newRequest(t *testing.T, ctx context.Context, addr string, media encoding.MediaType, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/api/v1/scheduler", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", string(media))
	r.Header.Set("Accept", string(media))
	return r
}

// do sends a request on a connection of its own.
func do(r *http.Request) (*http.Response, error) {
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
}

func subscribe(t *testing.T, addr string, media encoding.MediaType, info *mesos.FrameworkInfo) *framework {
	t.Helper()
	f := connect(t, addr, media, info)
	f.id = f.next(scheduler.Event_SUBSCRIBED).Subscribed.FrameworkID.Value
	info.ID = &mesos.FrameworkID{Value: f.id}
	return f
}

func connect(t *testing.T, addr string, media encoding.MediaType, info *mesos.FrameworkInfo) *framework {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	call := &scheduler.Call{Type: scheduler.Call_SUBSCRIBE, FrameworkID: info.ID, Subscribe: &scheduler.Call_Subscribe{FrameworkInfo: info}}
	resp, err := do(newRequest(t, ctx, addr, media, encode(t, call, media)))
	if err != nil {
		stop()
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		stop()
		t.Fatalf("SUBSCRIBE: %s %s", resp.Status, body)
	}
	if got := resp.Header.Get("Content-Type"); got != string(media) {
		t.Errorf("Content-Type %q, want %q", got, media)
	}
	f := &framework{t: t, addr: addr, media: media, info: info, stream: resp.Header.Get("Mesos-Stream-Id"),
		events: make(chan *scheduler.Event, 10000), stop: stop}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(f.events)
		defer resp.Body.Close()
		f.read(resp.Body)
	}()
	t.Cleanup(func() { stop(); <-done })
	return f
}

func (f *framework) read(body io.Reader) {
	frames := recordio.NewReader(body)
	for {
		b, err := frames.ReadFrame()
		if err != nil {
			return
		}
		e := &scheduler.Event{}
		if f.media == codecs.MediaTypeJSON {
			err = json.Unmarshal(b, e)
		} else {
			err = proto.Unmarshal(b, e)
		}
		if err != nil {
			f.t.Errorf("bad event %q: %v", b, err)
			return
		}
		f.events <- e
	}
}

// next waits for an event of a type. Offers met on the way are kept, other
// events are dropped.
func (f *framework) next(want scheduler.Event_Type) *scheduler.Event {
	f.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, ok := <-f.events:
			if !ok {
				f.t.Fatalf("stream ended while waiting for %s", want)
			}
			if e.Type == want {
				return e
			}
			if e.Type == scheduler.Event_OFFERS {
				f.offers = append(f.offers, e.Offers.Offers...)
			}
		case <-late:
			f.t.Fatalf("no %s event", want)
		}
	}
}

// offer waits for an offer; those that come together are kept for later.
func (f *framework) offer() mesos.Offer {
	f.t.Helper()
	if len(f.offers) == 0 {
		f.offers = f.next(scheduler.Event_OFFERS).Offers.Offers
	}
	o := f.offers[0]
	f.offers = f.offers[1:]
	return o
}

// ended waits for the end of the stream.
func (f *framework) ended() {
	f.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-f.events:
			if !ok {
				return
			}
		case <-late:
			f.t.Fatal("the stream goes on")
		}
	}
}

// silent checks that no event of a type has come once a later round trip, a
// reconciliation of an unknown task, is answered.
func (f *framework) silent(unwanted scheduler.Event_Type) {
	f.t.Helper()
	probe := "probe-" + fmt.Sprint(time.Now().UnixNano())
	f.reconcile(probe, "")
	late := time.After(patience)
	for {
		select {
		case e, ok := <-f.events:
			if !ok {
				f.t.Fatal("stream ended")
			}
			if e.Type == scheduler.Event_UPDATE && e.Update.Status.TaskID.Value == probe {
				return
			}
			if e.Type == unwanted {
				f.t.Fatalf("unwanted event: %v", e)
			}
		case <-late:
			f.t.Fatal("probe was not answered")
		}
	}
}

func (f *framework) post(call *scheduler.Call) (status int, body string, err error) {
	f.t.Helper()
	call.FrameworkID = &mesos.FrameworkID{Value: f.id}
	r := newRequest(f.t, f.t.Context(), f.addr, f.media, encode(f.t, call, f.media))
	r.Header.Set("Mesos-Stream-Id", f.stream)
	resp, err := do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (f *framework) call(call *scheduler.Call) {
	f.t.Helper()
	if status, body, err := f.post(call); err != nil || status != http.StatusAccepted {
		f.t.Fatalf("%s: %d %q %v", call.Type, status, body, err)
	}
}

func (f *framework) accept(filters *mesos.Filters, offers []mesos.OfferID, tasks ...mesos.TaskInfo) {
	f.t.Helper()
	f.call(&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{OfferIDs: offers, Filters: filters,
		Operations: []mesos.Offer_Operation{{Type: mesos.Offer_Operation_LAUNCH, Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks}}}}})
}

// launch runs a task on the next offer.
func (f *framework) launch(task mesos.TaskInfo) mesos.Offer {
	f.t.Helper()
	o := f.offer()
	task.AgentID = o.AgentID
	f.accept(noFilter, []mesos.OfferID{o.ID}, task)
	return o
}

func (f *framework) decline(o mesos.Offer, filters *mesos.Filters) {
	f.t.Helper()
	f.call(&scheduler.Call{Type: scheduler.Call_DECLINE, Decline: &scheduler.Call_Decline{OfferIDs: []mesos.OfferID{o.ID}, Filters: filters}})
}

func (f *framework) kill(task string, grace time.Duration) {
	f.t.Helper()
	f.call(&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: mesos.TaskID{Value: task},
		KillPolicy: &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: grace.Nanoseconds()}}}})
}

func (f *framework) reconcile(task, agent string) {
	f.t.Helper()
	want := scheduler.Call_Reconcile_Task{TaskID: mesos.TaskID{Value: task}}
	if agent != "" {
		want.AgentID = &mesos.AgentID{Value: agent}
	}
	f.call(&scheduler.Call{Type: scheduler.Call_RECONCILE, Reconcile: &scheduler.Call_Reconcile{Tasks: []scheduler.Call_Reconcile_Task{want}}})
}

func (f *framework) ack(s *mesos.TaskStatus) {
	f.t.Helper()
	if s.UUID != nil {
		f.call(&scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE,
			Acknowledge: &scheduler.Call_Acknowledge{AgentID: *s.AgentID, TaskID: s.TaskID, UUID: s.UUID}})
	}
}

// update waits for the next update of a task, and does not acknowledge it.
func (f *framework) update(task string) *mesos.TaskStatus {
	f.t.Helper()
	for {
		if s := f.next(scheduler.Event_UPDATE).Update.Status; s.TaskID.Value == task {
			return &s
		}
	}
}

// until acknowledges updates of a task, which must be these states in order,
// and returns the last.
func (f *framework) until(task string, states ...mesos.TaskState) *mesos.TaskStatus {
	f.t.Helper()
	var s *mesos.TaskStatus
	for _, want := range states {
		s = f.update(task)
		if s.GetState() != want {
			f.t.Fatalf("task %s: %s, want %s: %v", task, s.GetState(), want, s)
		}
		f.ack(s)
	}
	return s
}

func resourcesOf(cpus, mem float64) []mesos.Resource {
	scalar := func(name string, v float64) mesos.Resource {
		return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: v}}
	}
	return []mesos.Resource{scalar("cpus", cpus), scalar("mem", mem)}
}

func shell(id, command string) mesos.TaskInfo {
	return mesos.TaskInfo{Name: id, TaskID: mesos.TaskID{Value: id}, Resources: resourcesOf(0.1, 32),
		Command: &mesos.CommandInfo{Value: &command}}
}

// viewOf finds a task, the latest framework's where several have it.
func viewOf(t *testing.T, m *localmesos.Mesos, task string) localmesos.TaskView {
	t.Helper()
	for _, v := range slices.Backward(m.Tasks()) {
		if v.ID == task {
			return v
		}
	}
	t.Fatalf("no task %q", task)
	return localmesos.TaskView{}
}

func readSandbox(t *testing.T, m *localmesos.Mesos, task, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(viewOf(t, m, task).Sandbox, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// alive says whether a process runs; a zombie does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
