package blocks

import "container/list"

// lru is a least-recently-used cache bounded by the sum of its entries'
// weights. It is not safe for concurrent use.
type lru[K comparable, V any] struct {
	limit   int64
	weight  int64
	order   list.List // of *lruEntry, most recent first
	entries map[K]*list.Element
	evicted func(V)
}

type lruEntry[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

func newLRU[K comparable, V any](limit int64, evicted func(V)) *lru[K, V] {
	return &lru[K, V]{limit: limit, entries: map[K]*list.Element{}, evicted: evicted}
}

func (c *lru[K, V]) get(k K) (v V, ok bool) {
	e, ok := c.entries[k]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

// put replaces what k had, then evicts until the limit holds again; an entry
// that alone exceeds the limit is evicted at once.
func (c *lru[K, V]) put(k K, v V, weight int64) {
	c.remove(k)
	c.entries[k] = c.order.PushFront(&lruEntry[K, V]{k, v, weight})
	c.weight += weight
	for c.weight > c.limit {
		c.remove(c.order.Back().Value.(*lruEntry[K, V]).key)
	}
}

func (c *lru[K, V]) remove(k K) {
	e, ok := c.entries[k]
	if !ok {
		return
	}
	entry := c.order.Remove(e).(*lruEntry[K, V])
	delete(c.entries, k)
	c.weight -= entry.weight
	if c.evicted != nil {
		c.evicted(entry.value)
	}
}

// removeIf walks over all entries.
func (c *lru[K, V]) removeIf(drop func(K, V) bool) {
	for k, e := range c.entries {
		if drop(k, e.Value.(*lruEntry[K, V]).value) {
			c.remove(k)
		}
	}
}
