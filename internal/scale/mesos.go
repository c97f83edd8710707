package scale

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// Mesos is a master whose agents exist in name only. It offers nothing on its
// own, but for what OfferAtSubscription asks. All methods are safe for
// concurrent use.
type Mesos struct {
	ln     net.Listener
	server *http.Server
	done   chan struct{}

	mu       sync.Mutex
	stream   *stream // of the latest subscription
	offers   map[string]int
	numbers  int
	rounds   []*round
	first    Offering // at each subscription
	tasks    map[string]string
	twice    []string
	counts   Counts
	subs     []time.Time
	accepted time.Time // the last ACCEPT
	changed  chan struct{}
}

// Counts of the calls that came.
type Counts struct {
	Accepts, Declines, Revives, Suppresses, Reconciles, Acknowledges, Kills int
	Asked                                                                   int // tasks in all explicit reconciliations
}

// round is the offers of one call of Offer.
type round struct {
	open  map[string]bool
	began time.Time
	out   Answers
	done  chan struct{}
}

// Answers is what became of offers: how many were accepted and declined, how
// many tasks came with them, and when the first and the last answer came,
// counted from before the offers were written.
type Answers struct {
	Offers, Accepted, Declined, Tasks int
	First, Last                       time.Duration
}

// Offering is what is offered at once: the first agents, with so many CPUs and so
// much memory each. An agent gets no smaller for the tasks that it is given.
type Offering struct {
	Agents       int
	CPUs, MemMiB float64
}

// RoomFor is an offering of agents with room for so many drivers of a State each.
func RoomFor(agents, drivers int) Offering {
	return Offering{agents, float64(Cores * drivers), float64(MemMiB * drivers)}
}

// StartMesos listens on a free port of 127.0.0.1.
func StartMesos() (*Mesos, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &Mesos{
		ln: ln, done: make(chan struct{}),
		offers: make(map[string]int), tasks: make(map[string]string), changed: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/scheduler", m.serve)
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(m.done)
		_ = m.server.Serve(ln) // it ends with Close
	}()
	return m, nil
}

// URL is what --master takes.
func (m *Mesos) URL() string { return "http://" + m.ln.Addr().String() }

// Close ends the subscription and the server.
func (m *Mesos) Close() error {
	m.mu.Lock()
	if m.stream != nil {
		m.stream.end()
	}
	m.mu.Unlock()
	err := m.server.Close()
	<-m.done
	return err
}

// AgentID of an agent by its number.
func AgentID(i int) string { return "scale-S" + strconv.Itoa(i) }

func host(i int) string { return fmt.Sprintf("agent-%04d.example.org", i) }

// OfferAtSubscription lets each subscription begin with these offers.
func (m *Mesos) OfferAtSubscription(o Offering) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.first = o
}

// Offer makes offers in one event and waits until each of them was accepted or
// declined, or ctx ends.
func (m *Mesos) Offer(ctx context.Context, o Offering) (Answers, error) {
	m.mu.Lock()
	if m.stream == nil {
		m.mu.Unlock()
		return Answers{}, fmt.Errorf("scale: nobody is subscribed")
	}
	r := m.offer(o)
	m.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if left := len(r.open); left > 0 {
		return r.out, fmt.Errorf("scale: %d of %d offers were not answered: %w", left, o.Agents, ctx.Err())
	}
	return r.out, nil
}

// offer makes a round. Callers hold mu.
func (m *Mesos) offer(o Offering) *round {
	r := &round{open: make(map[string]bool), began: time.Now(), done: make(chan struct{})}
	r.out.Offers = o.Agents
	ev := &scheduler.Event{Type: scheduler.Event_OFFERS, Offers: &scheduler.Event_Offers{}}
	for i := range o.Agents {
		m.numbers++
		id := fmt.Sprintf("scale-O%d", m.numbers)
		r.open[id] = true
		m.offers[id] = len(m.rounds)
		ev.Offers.Offers = append(ev.Offers.Offers, offerOf(o, i, id))
	}
	m.rounds = append(m.rounds, r)
	m.stream.push(ev)
	return r
}

func offerOf(o Offering, i int, id string) mesos.Offer {
	scalar := func(name string, v float64) mesos.Resource {
		t := mesos.SCALAR
		return mesos.Resource{Name: name, Type: &t, Scalar: &mesos.Value_Scalar{Value: v}}
	}
	ranges := mesos.RANGES
	text := func(name, v string) mesos.Attribute {
		return mesos.Attribute{Name: name, Type: mesos.TEXT, Text: &mesos.Value_Text{Value: v}}
	}
	return mesos.Offer{
		ID: mesos.OfferID{Value: id}, FrameworkID: mesos.FrameworkID{Value: FrameworkID},
		AgentID: mesos.AgentID{Value: AgentID(i)}, Hostname: host(i),
		Resources: []mesos.Resource{
			scalar("cpus", o.CPUs), scalar("mem", o.MemMiB), scalar("disk", 100_000),
			{Name: "ports", Type: &ranges, Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: 31000, End: 32000}}}},
		},
		Attributes: []mesos.Attribute{text("rack", "r"+strconv.Itoa(i/40)), text("zone", "z"+strconv.Itoa(i%3))},
	}
}

// Tasks is how many tasks were launched, and which of them more than once.
func (m *Mesos) Tasks() (n int, twice []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tasks), m.twice
}

// Counts of the calls up to now.
func (m *Mesos) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Subscriptions is how often a scheduler has subscribed.
func (m *Mesos) Subscriptions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.subs)
}

// AcceptAfter waits for an ACCEPT later than t and returns when it came.
func (m *Mesos) AcceptAfter(ctx context.Context, t time.Time) (time.Time, error) {
	for {
		m.mu.Lock()
		at, changed := m.accepted, m.changed
		m.mu.Unlock()
		if at.After(t) {
			return at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return at, fmt.Errorf("scale: no ACCEPT: %w", ctx.Err())
		}
	}
}
