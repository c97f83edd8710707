package loadgen

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report of a run.
type Report struct {
	Mode       Mode     `json:"mode"`
	Servers    []string `json:"servers"`
	Clients    int      `json:"clients"`
	KeepAlive  bool     `json:"keepAlive"`
	Rate       float64  `json:"rate,omitempty"` // asked for, a second
	Properties int      `json:"properties"`
	Seconds    float64  `json:"seconds"`
	Submit     *Stats   `json:"submit,omitempty"`
	Status     *Stats   `json:"status,omitempty"`
	// States that the statuses told, with their numbers.
	States map[string]int `json:"states,omitempty"`
	// Verified is what Verify found; nil where nobody asked.
	Verified *Verification `json:"verified,omitempty"`

	// IDs that were acknowledged.
	IDs []string `json:"-"`
}

// Stats of the requests of one kind.
type Stats struct {
	// OK were answered with success: submissions acknowledged, statuses told
	// (NOT_FOUND is not a success).
	OK int `json:"ok"`
	// Refused were surely not carried out.
	Refused int `json:"refused"`
	// Unknown may have been carried out: the connection broke, or the server
	// said so.
	Unknown    int     `json:"unknown"`
	PerSecond  float64 `json:"perSecond"` // of OK
	Latency    Latency `json:"latencyMs"` // of OK
	FirstError string  `json:"firstError,omitempty"`
}

// Latency in milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// result is what one worker saw.
type result struct {
	submit, status tally
	states         map[string]int
	ids            []string
}

func newResult() *result { return &result{states: make(map[string]int)} }

type tally struct {
	took             []time.Duration // of the successes
	refused, unknown int
	first            string
}

func (t *tally) add(took time.Duration, r reply, err error) {
	switch {
	case err == nil && r.Success:
		t.took = append(t.took, took)
		return
	case err == nil:
		t.refused++
		err = fmt.Errorf("success is false: %s %s", r.DriverState, r.Message)
	case outcomeOf(err) == refused:
		t.refused++
	default:
		t.unknown++
	}
	if t.first == "" {
		t.first = err.Error()
	}
}

func newReport(cfg *Config, took time.Duration, results []*result) *Report {
	r := &Report{
		Mode: cfg.Mode, Servers: cfg.Servers, Clients: cfg.Clients, KeepAlive: !cfg.CloseConnections,
		Rate: cfg.Rate, Properties: cfg.Properties, Seconds: took.Seconds(), States: make(map[string]int),
	}
	var submit, status tally
	for _, one := range results {
		submit.merge(&one.submit)
		status.merge(&one.status)
		r.IDs = append(r.IDs, one.ids...)
		for k, v := range one.states {
			r.States[k] += v
		}
	}
	r.Submit, r.Status = submit.stats(took), status.stats(took)
	return r
}

func (t *tally) merge(o *tally) {
	t.took = append(t.took, o.took...)
	t.refused += o.refused
	t.unknown += o.unknown
	if t.first == "" {
		t.first = o.first
	}
}

func (t *tally) stats(total time.Duration) *Stats {
	if len(t.took)+t.refused+t.unknown == 0 {
		return nil
	}
	return &Stats{
		OK: len(t.took), Refused: t.refused, Unknown: t.unknown, FirstError: t.first,
		PerSecond: float64(len(t.took)) / total.Seconds(), Latency: latencyOf(t.took),
	}
}

func latencyOf(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	// The nearest rank: a value that was seen.
	rank := func(p float64) float64 { return ms(took[min(len(took)-1, int(p*float64(len(took))))]) }
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	return Latency{
		Mean: ms(sum / time.Duration(len(took))), P50: rank(0.5), P90: rank(0.9), P99: rank(0.99),
		P999: rank(0.999), Max: ms(took[len(took)-1]),
	}
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	connections := "kept connections"
	if !r.KeepAlive {
		connections = "a connection for each request"
	}
	fmt.Fprintf(w, "%s at %s: %d clients, %s, %d properties, %.2f s\n\n",
		r.Mode, strings.Join(r.Servers, ", "), r.Clients, connections, r.Properties, r.Seconds)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tok\trefused\tunknown\tok/s\tp50 ms\tp90 ms\tp99 ms\tp99.9 ms\tmax ms\t")
	for _, row := range []struct {
		name  string
		stats *Stats
	}{{"submit", r.Submit}, {"status", r.Status}} {
		if s := row.stats; s != nil {
			fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", row.name, s.OK, s.Refused, s.Unknown,
				s.PerSecond, s.Latency.P50, s.Latency.P90, s.Latency.P99, s.Latency.P999, s.Latency.Max)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, s := range []*Stats{r.Submit, r.Status} {
		if s != nil && s.FirstError != "" {
			fmt.Fprintf(w, "\nfirst error: %s\n", s.FirstError)
		}
	}
	if len(r.States) > 0 {
		fmt.Fprintf(w, "\nstates: %s\n", counts(r.States))
	}
	if v := r.Verified; v != nil {
		fmt.Fprintf(w, "\nof %d acknowledged: %d known (%s), %d lost, %d not answered, %d ids given out twice\n",
			v.Acknowledged, v.Known, counts(v.States), v.Lost, v.Failed, v.Duplicates)
	}
	return nil
}

func counts(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
