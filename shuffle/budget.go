package shuffle

import "sync/atomic"

// budget is a number of bytes that may be in use; see wire.Budget.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) Acquire(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) Release(n int64) { b.used.Add(-n) }
