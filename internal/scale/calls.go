package scale

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

const (
	protobuf     = "application/x-protobuf"
	maxCallBytes = 64 << 20
	heartbeat    = 5 * time.Second
)

// stream is one subscription.
type stream struct {
	id     string
	events chan *scheduler.Event
	over   chan struct{}
}

// end ends the stream; the caller holds the lock of Mesos.
func (s *stream) end() {
	select {
	case <-s.over:
	default:
		close(s.over)
	}
}

// push queues an event. A scheduler that does not read makes Mesos wait, which a
// real one would not; here it bounds the memory.
func (s *stream) push(e *scheduler.Event) {
	select {
	case s.events <- e:
	case <-s.over:
	}
}

func (m *Mesos) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != protobuf {
		http.Error(w, "only "+protobuf+" is spoken here", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallBytes))
	call := new(scheduler.Call)
	if err == nil {
		err = call.Unmarshal(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if call.Type == scheduler.Call_SUBSCRIBE {
		m.subscribe(w, r, call.Subscribe)
		return
	}
	m.mu.Lock()
	current := m.stream != nil && m.stream.id == r.Header.Get("Mesos-Stream-Id")
	m.mu.Unlock()
	if !current {
		http.Error(w, "The stream ID included in this request didn't match the stream ID currently associated with framework", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	m.take(call)
}

func (m *Mesos) subscribe(w http.ResponseWriter, r *http.Request, call *scheduler.Call_Subscribe) {
	seconds := heartbeat.Seconds()
	id := FrameworkID
	if was := call.FrameworkInfo.GetID(); was != nil {
		id = was.Value
	}
	s := &stream{id: uuid.NewString(), events: make(chan *scheduler.Event, 1<<16), over: make(chan struct{})}
	s.push(&scheduler.Event{Type: scheduler.Event_SUBSCRIBED, Subscribed: &scheduler.Event_Subscribed{
		FrameworkID: &mesos.FrameworkID{Value: id}, HeartbeatIntervalSeconds: &seconds,
	}})
	m.mu.Lock()
	if m.stream != nil {
		m.stream.push(&scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: "Framework failed over"}})
		m.stream.end()
	}
	m.stream = s
	m.subs = append(m.subs, time.Now())
	clear(m.offers) // those of the last subscription are void
	if m.first.Agents > 0 {
		m.offer(m.first)
	}
	m.mu.Unlock()
	w.Header().Set("Content-Type", protobuf)
	w.Header().Set("Mesos-Stream-Id", s.id)
	w.WriteHeader(http.StatusOK)
	s.write(w, r)
	m.mu.Lock()
	defer m.mu.Unlock()
	s.end()
	if m.stream == s {
		m.stream = nil
	}
}

// write sends events until the scheduler or the stream is gone.
func (s *stream) write(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w).Flush
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	send := func(e *scheduler.Event) bool {
		b, err := e.Marshal()
		if err != nil {
			return false
		}
		// RecordIO: the length in decimal, a newline, the record.
		_, err = w.Write(append(append(strconv.AppendInt(nil, int64(len(b)), 10), '\n'), b...))
		return err == nil && (len(s.events) > 0 || flush() == nil)
	}
	if flush() != nil {
		return
	}
	for {
		var e *scheduler.Event
		select {
		case e = <-s.events:
		case <-beat.C:
			e = &scheduler.Event{Type: scheduler.Event_HEARTBEAT}
		case <-r.Context().Done():
			return
		case <-s.over:
			for len(s.events) > 0 {
				send(<-s.events)
			}
			return
		}
		if !send(e) {
			return
		}
	}
}

// take carries out a call of the current subscription.
func (m *Mesos) take(call *scheduler.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch call.Type {
	case scheduler.Call_ACCEPT:
		m.counts.Accepts++
		m.accept(call.Accept)
	case scheduler.Call_DECLINE:
		m.counts.Declines++
		for _, id := range call.Decline.OfferIDs {
			m.answered(id.Value, false, 0)
		}
	case scheduler.Call_RECONCILE:
		m.counts.Reconciles++
		m.counts.Asked += len(call.Reconcile.Tasks)
		for _, t := range call.Reconcile.Tasks {
			m.tell(t.TaskID.Value)
		}
	case scheduler.Call_REVIVE:
		m.counts.Revives++
	case scheduler.Call_SUPPRESS:
		m.counts.Suppresses++
	case scheduler.Call_ACKNOWLEDGE:
		m.counts.Acknowledges++
	case scheduler.Call_KILL:
		m.counts.Kills++
		if agent, known := m.tasks[call.Kill.TaskID.Value]; known {
			m.update(call.Kill.TaskID.Value, agent, mesos.TASK_KILLED, true)
		}
	}
}

// accept takes tasks. Each one runs at once.
func (m *Mesos) accept(call *scheduler.Call_Accept) {
	tasks := 0
	for i := range call.Operations {
		if call.Operations[i].Launch == nil {
			continue
		}
		for j := range call.Operations[i].Launch.TaskInfos {
			t := &call.Operations[i].Launch.TaskInfos[j]
			if _, known := m.tasks[t.TaskID.Value]; known {
				m.twice = append(m.twice, t.TaskID.Value)
			}
			m.tasks[t.TaskID.Value] = t.AgentID.Value
			m.update(t.TaskID.Value, t.AgentID.Value, mesos.TASK_RUNNING, true)
			tasks++
		}
	}
	for i, id := range call.OfferIDs {
		if i > 0 {
			tasks = 0
		}
		m.answered(id.Value, true, tasks)
	}
	m.accepted = time.Now()
	close(m.changed)
	m.changed = make(chan struct{})
}

// answered notes the answer to an offer.
func (m *Mesos) answered(id string, accepted bool, tasks int) {
	place, known := m.offers[id]
	if !known {
		return
	}
	delete(m.offers, id)
	r := m.rounds[place]
	delete(r.open, id)
	r.out.Last = time.Since(r.began)
	if r.out.First == 0 {
		r.out.First = r.out.Last
	}
	r.out.Tasks += tasks
	if accepted {
		r.out.Accepted++
	} else {
		r.out.Declined++
	}
	if len(r.open) == 0 {
		close(r.done)
	}
}

// tell answers an explicit reconciliation.
func (m *Mesos) tell(task string) {
	if agent, known := m.tasks[task]; known {
		m.update(task, agent, mesos.TASK_RUNNING, false)
		return
	}
	m.update(task, "", mesos.TASK_LOST, false)
}

func (m *Mesos) update(task, agent string, state mesos.TaskState, acknowledge bool) {
	now := float64(time.Now().UnixMilli()) / 1000
	st := mesos.TaskStatus{TaskID: mesos.TaskID{Value: task}, State: &state, Timestamp: &now}
	if agent != "" {
		st.AgentID = &mesos.AgentID{Value: agent}
	}
	if acknowledge {
		id := uuid.New()
		st.UUID = id[:]
	}
	m.stream.push(&scheduler.Event{Type: scheduler.Event_UPDATE, Update: &scheduler.Event_Update{Status: st}})
}
