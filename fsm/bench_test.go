package fsm

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

var sizes = []int{1_000, 10_000, 100_000}

// crowd is a node with count drivers, of which half wait and half run.
func crowd(b testing.TB, count int) *node {
	n := subscribed(b)
	n.policy(func(p *Policy) { p.MaxDrivers = 1 << 30 })
	for i := range count {
		id := n.submit(func(c *fsmpb.SubmitDriver) { c.Spec = spec() })
		if i%2 == 0 {
			n.launch(id)
		}
	}
	return n
}

// spec is as large as that of a submission with eight properties.
func spec() []byte {
	data := make([]byte, 1500)
	for i := range data {
		data[i] = byte('a' + rand.IntN(26))
	}
	return data
}

// replay applies the same thousand entries again and again to the same state, so
// that the size of the state is what the name of the benchmark says.
func replay(b *testing.B, n *node, number Number, body func(i int) proto.Message) {
	entries := make([][]byte, 1000)
	for i := range entries {
		s := Stamp{TimeMs: startMs}
		binary.BigEndian.PutUint64(s.RequestID[:], uint64(i)+1)
		entry, err := Encode(number, s, body(i))
		if err != nil {
			b.Fatal(err)
		}
		entries[i] = entry
	}
	trees, scalars := n.s.t.copy(), n.s.s
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(entries) == 0 {
			n.s.t, n.s.s = trees.copy(), scalars
			n.s.feed.restart(scalars.nextChange)
		}
		n.s.Apply(n.index+uint64(i), entries[i%len(entries)])
	}
	b.StopTimer()
	n.s.t, n.s.s = trees, scalars
}

func BenchmarkApply(b *testing.B) {
	for _, size := range sizes {
		n := crowd(b, size)
		var active, waiting []*Driver
		n.s.View().Active(func(d *Driver) bool { active = append(active, d); return true })
		n.s.View().Waiting(func(d *Driver) bool { waiting = append(waiting, d); return true })
		far := func(list []*Driver, i int) *Driver { return list[i*7919%len(list)] } // spread over the tree
		for name, one := range map[string]struct {
			number Number
			body   func(i int) proto.Message
		}{
			"submit": {NumberSubmitDriver, func(int) proto.Message {
				return &fsmpb.SubmitDriver{IdPrefix: "driver-20261122120000-", Name: "job", MainClass: "org.example.Job", Cores: 1, MemMib: 1024, Spec: spec()}
			}},
			"launch": {NumberLaunchDrivers, func(i int) proto.Message {
				id := far(waiting, i).ID
				return &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{DriverId: id, TaskId: id, AgentId: "a", AgentHost: "h", FrameworkId: "fw-" + id}}}
			}},
			"status": {NumberRecordStatuses, func(i int) proto.Message {
				return &fsmpb.RecordStatuses{Statuses: []*Status{{TaskId: far(active, i).ID, State: int32(TaskRunning), AgentId: "a", Uuid: []byte(fmt.Sprintf("%016d", i))}}}
			}},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) { replay(b, n, one.number, one.body) })
		}
	}
}

func BenchmarkView(b *testing.B) {
	for _, size := range sizes {
		n := crowd(b, size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n.s.View()
			}
		})
	}
}

// A reset ends all active drivers in one entry, during which nothing else is
// applied.
func BenchmarkResetFramework(b *testing.B) {
	for _, active := range []int{200, 2_000, 20_000} {
		b.Run(fmt.Sprint(active), func(b *testing.B) {
			n := crowd(b, 2*active)
			n.ok(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: FrameworkRemove, FrameworkId: "fw"})
			entry, err := Encode(NumberFrameworkEvent, n.stamp(), &fsmpb.FrameworkEvent{Event: FrameworkReset})
			if err != nil {
				b.Fatal(err)
			}
			trees, scalars := n.s.t, n.s.s
			for b.Loop() {
				b.StopTimer()
				n.s.t, n.s.s = trees.copy(), scalars
				n.s.feed.restart(scalars.nextChange)
				b.StartTimer()
				n.s.Apply(n.index+1, entry)
			}
			if c := n.s.Counts(); c.Active != 0 {
				b.Fatalf("%d are active", c.Active)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(active), "ns/driver")
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	n := crowd(b, 10_000)
	for b.Loop() {
		size, _ := n.s.View().WriteTo(io.Discard)
		b.SetBytes(size)
	}
}

// What a driver costs in memory: queued, and after a run.
func BenchmarkMemoryOfADriver(b *testing.B) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, run := range []bool{false, true} {
		b.Run(fmt.Sprintf("finished=%v", run), func(b *testing.B) {
			const count = 20_000
			for b.Loop() {
				before := heap()
				n := subscribed(b)
				n.policy(func(p *Policy) { p.MaxDrivers, p.RetainedDrivers, p.DedupWindow = 1<<30, 1<<30, 1 })
				for range count {
					id := n.submit(func(c *fsmpb.SubmitDriver) { c.Spec = spec() })
					if run {
						n.status(n.launch(id), TaskFinished)
					}
				}
				n.s.feed.restart(n.s.s.nextChange) // what the feed holds is bounded apart
				b.ReportMetric(float64(heap()-before)/count, "B/driver")
				runtime.KeepAlive(n)
			}
		})
	}
}
