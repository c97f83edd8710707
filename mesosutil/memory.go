package mesosutil

import "math"

const (
	// MinMemoryOverheadMiB is the least memory Spark adds to a JVM's heap.
	MinMemoryOverheadMiB = 384
	// DefaultMemoryOverheadFactor is Spark's share of the heap that is added.
	DefaultMemoryOverheadFactor = 0.1
)

// MemoryOverheadMiB returns how much memory, in MiB, a container needs beside
// a heap of heapMiB: explicit if it is given, else the whole part of
// max(factor × heapMiB, 384). A negative explicit overhead counts as 0, and a
// factor that is negative or not a number gives the minimum.
//
//	512 → 384    4096 → 409    10000 → 1000    1024 with explicit 512 → 512
func MemoryOverheadMiB(heapMiB int64, explicit *int64, factor float64) int64 {
	if explicit != nil {
		return max(*explicit, 0)
	}
	v := factor * float64(heapMiB)
	switch {
	case !(v > MinMemoryOverheadMiB): // also NaN
		return MinMemoryOverheadMiB
	case v >= math.MaxInt64/2:
		return math.MaxInt64 / 2
	}
	return int64(v)
}

// ContainerMemoryMiB returns heap plus overhead (MemoryOverheadMiB). The sum
// saturates instead of overflowing.
//
//	512 → 896    4096 → 4505    1024 with explicit 512 → 1536
func ContainerMemoryMiB(heapMiB int64, explicit *int64, factor float64) int64 {
	o := MemoryOverheadMiB(heapMiB, explicit, factor)
	if heapMiB > math.MaxInt64-o {
		return math.MaxInt64
	}
	return heapMiB + o
}
