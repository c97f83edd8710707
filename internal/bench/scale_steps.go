package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
	"github.com/ha-dispatcher/ha-dispatcher/internal/scale"
)

type driver = fsm.Driver

// few is the size that the largest one is compared with.
var few = scale.Drivers{Finished: 80, Queued: 20}

// everything measures a cluster while it has few drivers and again when it has
// many. It ends with the cluster full.
func (c *crowd) everything(ctx context.Context, many scale.Drivers) ([]*table, error) {
	memory := &table{
		name: "scale-memory", title: fmt.Sprintf("Memory with %d retained and %d queued drivers of 8 properties", many.Finished, many.Queued),
		header: []string{"node", "live heap, bytes a driver", "VmRSS MiB", "with few drivers", "VmRSS, bytes a driver"},
	}
	steps := &table{name: "scale-steps", title: "The same steps with few drivers and with many", header: []string{"step", "100 drivers, ms", fmt.Sprintf("%d drivers, ms", many.Finished+many.Queued), "ratio"}}
	pages := &table{name: "scale-pages", title: "Pages and lists", header: []string{"what", "bytes", "100 drivers, ms", "p99", fmt.Sprintf("%d drivers, ms", many.Finished+many.Queued), "p99", "ratio of the medians"}}
	rates := &table{
		name: "scale-newcomer", title: "Submissions while a node is given the state",
		header: []string{"drivers", "what goes on", "a second", "p50 ms", "p99 ms", "worst ms", "p99, to before"},
	}
	tables := []*table{memory, steps, pages, rates}

	if _, _, err := c.fill(ctx, few); err != nil {
		return tables, err
	}
	small, err := c.look(ctx)
	if err != nil {
		return tables, err
	}
	smallSteps, err := c.steps(ctx)
	if err != nil {
		return tables, err
	}
	took, size, err := c.fill(ctx, many)
	if err != nil {
		return tables, err
	}
	steps.note("The state was given to the cluster as an archive of %d MiB, and was on all three nodes after %s ms.", size>>20, milliseconds(took))
	large, err := c.look(ctx)
	if err != nil {
		return tables, err
	}
	large.memory(memory, small, many)
	large.pages(pages, small)
	if err := c.newcomer(ctx, rates); err != nil {
		return tables, err
	}
	if _, _, err := c.fill(ctx, many); err != nil {
		return tables, err
	}
	largeSteps, err := c.steps(ctx)
	if err != nil {
		return tables, err
	}
	for i, st := range largeSteps {
		steps.row(st.name, milliseconds(smallSteps[i].took), milliseconds(st.took), ratio(float64(st.took), float64(smallSteps[i].took)))
	}
	_, _, err = c.fill(ctx, many)
	return tables, err
}

// newcomer empties a follower and lets it be restored over the network while
// submissions go on.
func (c *crowd) newcomer(ctx context.Context, t *table) error {
	victim := (c.lead + 1) % 3
	if err := c.Kill(victim); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(c.dir, c.Info().Nodes[victim].ID)); err != nil {
		return err
	}
	before, err := load(ctx, loadgen.Config{Servers: []string{c.rest(c.lead)}, Clients: 16, Duration: 3 * time.Second})
	if err != nil {
		return err
	}
	restored := make(chan error, 1)
	began := time.Now()
	var took time.Duration
	if err := c.StartNode(victim); err != nil {
		return err
	}
	go func() {
		err := c.known(ctx, victim, c.last)
		took = time.Since(began)
		restored <- err
	}()
	r, err := load(ctx, loadgen.Config{Servers: []string{c.rest(c.lead)}, Clients: 16, Duration: 6 * time.Second})
	if err := errors.Join(err, <-restored); err != nil {
		return err
	}
	for i, r := range []*loadgen.Report{before, r} {
		l := r.Submit.Latency
		t.row(c.drivers.Finished+c.drivers.Queued, []string{"one node down", "it is given the state"}[i], fmt.Sprintf("%.0f", r.Submit.PerSecond),
			fmt.Sprintf("%.2f", l.P50), fmt.Sprintf("%.2f", l.P99), fmt.Sprintf("%.1f", l.Max), ratio(l.P99, before.Submit.Latency.P99))
	}
	t.note("16 clients at the leader. The emptied node had the state %s ms after its start.", milliseconds(took))
	_, err = c.leader(ctx)
	return err
}

type step struct {
	name string
	took time.Duration
}

// steps measures what an operator or a failure does to a node with this state.
func (c *crowd) steps(ctx context.Context) ([]step, error) {
	var again, lead, handed []time.Duration
	for range 3 {
		follower := (c.lead + 1) % 3
		took, err := c.restart(ctx, follower)
		if err != nil {
			return nil, err
		}
		again = append(again, took)
	}
	c.mesos.OfferAtSubscription(scale.RoomFor(1, 1))
	defer c.mesos.OfferAtSubscription(scale.Offering{})
	for _, how := range []struct {
		signal syscall.Signal
		took   *[]time.Duration
	}{{syscall.SIGKILL, &lead}, {syscall.SIGTERM, &handed}} {
		for range 5 {
			took, err := c.change(ctx, how.signal)
			if err != nil {
				return nil, err
			}
			*how.took = append(*how.took, took)
		}
	}
	return []step{
		{"a follower is killed and started: until it knows the drivers again", median(again)},
		{"SIGKILL of the leader: until the next one launches", median(lead)},
		{"SIGTERM of the leader: until the next one launches", median(handed)},
	}, nil
}

func (c *crowd) restart(ctx context.Context, node int) (time.Duration, error) {
	if err := c.Kill(node); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := c.StartNode(node); err != nil {
		return 0, err
	}
	if err := c.known(ctx, node, c.last); err != nil {
		return 0, err
	}
	took := time.Since(began)
	_, err := c.leader(ctx)
	return took, err
}

// change ends the leader and waits until another one has launched a driver.
func (c *crowd) change(ctx context.Context, signal syscall.Signal) (time.Duration, error) {
	time.Sleep(settle)
	old, began := c.lead, time.Now()
	if err := c.Signal(old, signal, false); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	at, err := c.mesos.AcceptAfter(ctx, began)
	if err != nil {
		return 0, err
	}
	for c.Running(old) {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
	if err := c.StartNode(old); err != nil {
		return 0, err
	}
	if err := c.known(ctx, old, c.last); err != nil {
		return 0, err
	}
	c.lead, err = c.leader(ctx)
	return at.Sub(began), err
}

// sight is what was seen of a cluster of one size.
type sight struct {
	heap, rss []float64
	page      []reading
}

type reading struct {
	name        string
	bytes       int
	median, p99 time.Duration
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

func (c *crowd) look(ctx context.Context) (*sight, error) {
	out := &sight{}
	for _, n := range c.Info().Nodes {
		raw, _, err := fetch(ctx, n.WebUI+"/debug/pprof/heap?debug=1&gc=1")
		if err != nil {
			return nil, err
		}
		m := heapAlloc.FindSubmatch(raw)
		if m == nil {
			return nil, errors.New("the heap profile has no HeapAlloc")
		}
		heap, _ := strconv.ParseFloat(string(m[1]), 64)
		out.heap = append(out.heap, heap)
		out.rss = append(out.rss, float64(residentOf(n.PID).all)*1024)
	}
	rest, web := c.rest(c.lead), c.Info().Nodes[c.lead].WebUI
	for _, p := range []struct{ name, url string }{
		{"GET /v1/drivers", rest + "/v1/drivers"},
		{"GET /v1/drivers?limit=1000", rest + "/v1/drivers?limit=1000"},
		{"GET /v1/drivers?state=QUEUED", rest + "/v1/drivers?state=QUEUED"},
		{"GET /v1/drivers?state=RUNNING (none is)", rest + "/v1/drivers?state=RUNNING"},
		{"GET /v1/drivers?q=no-such-driver", rest + "/v1/drivers?q=no-such-driver"},
		{"GET /v1/drivers/{id}", rest + "/v1/drivers/" + c.last},
		{"GET /v1/submissions/status/{id}", rest + "/v1/submissions/status/" + c.last},
		{"GET /v1/cluster", rest + "/v1/cluster"},
		{"page: first", web + "/"},
		{"page: all drivers", web + "/drivers"},
		{"page: search for " + url.QueryEscape("no-such-driver"), web + "/drivers?q=no-such-driver"},
		{"page: queued drivers", web + "/drivers?state=QUEUED"},
		{"page: one driver", web + "/driver?id=" + c.last},
		{"GET /metrics", web + "/metrics"},
	} {
		r := reading{name: p.name}
		var took []time.Duration
		for range 40 {
			began := time.Now()
			raw, status, err := fetch(ctx, p.url)
			if err != nil || status != http.StatusOK {
				return nil, fmt.Errorf("%s: HTTP %d: %w", p.url, status, err)
			}
			took = append(took, time.Since(began))
			r.bytes = len(raw)
		}
		r.median, r.p99 = median(took), most(took)
		out.page = append(out.page, r)
	}
	return out, nil
}

func hundredths(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

func most(all []time.Duration) (d time.Duration) {
	for _, t := range all {
		d = max(d, t)
	}
	return d
}

func (l *sight) memory(t *table, small *sight, many scale.Drivers) {
	n := float64(many.Finished + many.Queued)
	for i := range l.heap {
		t.row(fmt.Sprintf("n%d", i+1), fmt.Sprintf("%.0f", (l.heap[i]-small.heap[i])/n), fmt.Sprintf("%.1f", l.rss[i]/(1<<20)),
			fmt.Sprintf("%.1f", small.rss[i]/(1<<20)), fmt.Sprintf("%.0f", (l.rss[i]-small.rss[i])/n))
	}
	t.note("Live heap: after a collection, less that of the same node with %d drivers. The remembered outcomes of the latest "+
		"requests (spark.mesos.dispatcher.requestsKept, 65536) are in it.", few.Finished+few.Queued)
}

func (l *sight) pages(t *table, small *sight) {
	for i, r := range l.page {
		was := small.page[i]
		t.row(r.name, r.bytes, hundredths(was.median), hundredths(was.p99), hundredths(r.median), hundredths(r.p99), ratio(float64(r.median), float64(was.median)))
	}
	t.note("Of the leader, linearizable, 40 times each over kept connections; p99 is the worst of them.")
}

func fetch(ctx context.Context, address string) (body []byte, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, resp.StatusCode, err
}
