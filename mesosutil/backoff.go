package mesosutil

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces out attempts: the n-th wait is drawn evenly from zero to
// min(most, least·2ⁿ). Drawing from the whole span ("full jitter") spreads the
// schedulers that a restarted master would otherwise see all at once.
type backoff struct {
	least, most time.Duration
	attempt     int
}

func (b *backoff) next() time.Duration {
	ceiling := b.most
	// 2^attempt must not overflow: past 30 doublings every ceiling is reached.
	if b.attempt < 30 {
		if grown := b.least << b.attempt; grown > 0 && grown < b.most {
			ceiling = grown
		}
	}
	b.attempt++
	if ceiling <= 0 {
		return 0
	}
	return rand.N(ceiling)
}

func (b *backoff) reset() { b.attempt = 0 }

// wait sleeps for the next delay, or less when ctx ends first.
func (b *backoff) wait(ctx context.Context) {
	timer := time.NewTimer(b.next())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
