package loadgen

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Verification tells what became of acknowledged submissions.
type Verification struct {
	Acknowledged int `json:"acknowledged"`
	Known        int `json:"known"`
	// Lost ids are answered NOT_FOUND.
	Lost int `json:"lost"`
	// Failed ids had no answer, though they were asked for several times.
	Failed     int            `json:"failed"`
	Duplicates int            `json:"duplicates"`
	States     map[string]int `json:"states"`

	LostIDs []string `json:"-"`
}

const (
	verifyClients = 8
	verifyTries   = 20
)

// Verify asks the servers of cfg for every id. A server that retains fewer ended
// drivers than were submitted forgets some by right: see its
// spark.mesos.retainedDrivers.
func Verify(ctx context.Context, cfg Config, ids []string) (*Verification, error) {
	cfg.Mode, cfg.Clients, cfg.Count, cfg.Rate = Submit, verifyClients, 1, 0
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	templates, err := cfg.templates()
	if err != nil {
		return nil, err
	}
	v := &Verification{Acknowledged: len(ids), States: make(map[string]int)}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			v.Duplicates++
		}
		seen[id] = true
	}
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range verifyClients {
		c := &client{cfg: &cfg, templates: templates, at: i % len(templates)}
		wg.Go(func() {
			defer c.drop()
			for {
				n := int(next.Add(1)) - 1
				if n >= len(ids) {
					return
				}
				r, err := c.insist(ctx, ids[n])
				mu.Lock()
				v.count(ids[n], r, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return v, nil
}

func (v *Verification) count(id string, r reply, err error) {
	switch {
	case err != nil:
		v.Failed++
	case r.DriverState == "NOT_FOUND":
		v.Lost++
		v.LostIDs = append(v.LostIDs, id)
	default:
		v.Known++
		v.States[stateName(r)]++
	}
}

// insist asks several times: a server without a leader is no server that lost
// something.
func (c *client) insist(ctx context.Context, id string) (r reply, err error) {
	for try := range verifyTries {
		if r, err = c.status(ctx, id); err == nil || ctx.Err() != nil {
			return r, err
		}
		if !sleepUntil(ctx, time.Now().Add(time.Duration(try+1)*10*time.Millisecond)) {
			return r, ctx.Err()
		}
	}
	return r, err
}
