package scale

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Drivers is how many drivers a state has, and how large their submissions are.
type Drivers struct {
	Finished, Queued int
	// Properties of each submission; default 8. Half of them are Spark's own, the
	// others have values of 12 bytes.
	Properties int
}

// Cores and MemMiB are what each driver asks for, overhead included.
const (
	Cores  = 1
	MemMiB = 1024 + 384
)

// FrameworkID is the framework of a State.
const FrameworkID = "scale-0000"

// startMs is when the oldest driver was submitted; each one comes 10 ms later.
const startMs = 1_790_000_000_000

// State is a state in which the finished drivers were submitted before those
// that are queued. Nothing in it is left to chance but for the UUIDs of statuses,
// and those come from a fixed seed.
func State(d Drivers) (*fsm.State, error) {
	b := &builder{state: fsm.New(), now: startMs, random: rand.New(rand.NewPCG(1, 2))}
	policy := fsm.DefaultPolicy()
	policy.MaxDrivers, policy.RetainedDrivers = 10_000_000, 10_000_000
	b.apply(fsm.NumberSetPolicy, policy)
	b.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: FrameworkID, Master: "http://127.0.0.1:5050"})
	sub, err := submission(d.Properties)
	if err != nil {
		return nil, err
	}
	for i := range d.Finished {
		b.finish(b.apply(fsm.NumberSubmitDriver, sub).DriverId, i)
	}
	for range d.Queued {
		b.apply(fsm.NumberSubmitDriver, sub)
	}
	return b.state, b.err
}

// submission is one of the size that spark-submit sends, as a node keeps it.
func submission(properties int) (*fsmpb.SubmitDriver, error) {
	if properties == 0 {
		properties = 8
	}
	props := map[string]string{
		"spark.app.name": "nightly-report", "spark.jars": "file:///srv/jobs/reports-assembly-1.4.2.jar",
		"spark.master": "mesos://dispatcher.example.org:7077", "spark.submit.deployMode": "cluster",
	}
	for i := len(props); i < properties; i++ {
		props[fmt.Sprintf("spark.example.key%03d", i)] = fmt.Sprintf("a-value-%04d", i)
	}
	conf, err := launch.ParseDispatcherConf(sparkconf.New(map[string]string{"spark.master": "mesos://127.0.0.1:5050"}), "/opt/spark")
	if err != nil {
		return nil, err
	}
	desc, _, err := launch.Describe(conf, launch.Submission{
		AppResource: "file:///srv/jobs/reports-assembly-1.4.2.jar", MainClass: "org.example.reports.Nightly",
		Args: []string{"--day", "2026-11-22"}, Properties: props,
		Environment: map[string]string{"SPARK_ENV_LOADED": "1"}, ClientSparkVersion: "3.5.1",
	})
	if err != nil {
		return nil, err
	}
	spec, err := dispatcher.EncodeSpec(desc)
	if err != nil {
		return nil, err
	}
	return &fsmpb.SubmitDriver{
		IdPrefix: "driver-20260921145320-", Name: desc.Name, MainClass: desc.MainClass, Queue: desc.Queue,
		Cores: desc.Cores, MemMib: desc.MemoryMiB + desc.OverheadMiB, Spec: spec, User: "reports",
	}, nil
}

type builder struct {
	state  *fsm.State
	random *rand.Rand
	now    int64
	index  uint64
	err    error // the first one
}

// apply applies one command that must not be refused.
func (b *builder) apply(n fsm.Number, body proto.Message) *fsmpb.Result {
	b.index++
	b.now += 10
	stamp := fsm.Stamp{TimeMs: b.now}
	binary.BigEndian.PutUint64(stamp.RequestID[:], b.random.Uint64())
	binary.BigEndian.PutUint64(stamp.RequestID[8:], b.index)
	entry, err := fsm.Encode(n, stamp, body)
	var r *fsmpb.Result
	if err == nil {
		r, err = fsm.DecodeResult(b.state.Apply(b.index, entry))
	}
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil {
		if b.err == nil {
			b.err = fmt.Errorf("scale: command %d: %w", n, err)
		}
		return &fsmpb.Result{}
	}
	return r
}

// finish takes a queued driver through a run of one attempt.
func (b *builder) finish(id string, i int) {
	agent := i % 2000
	b.apply(fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{
		DriverId: id, TaskId: id, AgentId: AgentID(agent), AgentHost: host(agent), FrameworkId: FrameworkID + "-" + id,
	}}})
	for _, state := range []fsm.TaskState{fsm.TaskRunning, fsm.TaskFinished} {
		uuid := binary.BigEndian.AppendUint64(nil, b.random.Uint64())
		b.apply(fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{{
			TaskId: id, State: int32(state), AgentId: AgentID(agent), ExecutorId: id,
			Uuid: binary.BigEndian.AppendUint64(uuid, b.random.Uint64()), Timestamp: float64(b.now) / 1000,
			HasSource: true, Source: 2, Message: "Command exited with status 0",
		}}})
	}
}

// Archive writes the state as an archive that a cluster restores.
func Archive(w io.Writer, s *fsm.State) error {
	view := s.View()
	size, err := view.WriteTo(io.Discard)
	if err != nil {
		return err
	}
	return raftstore.WriteArchive(w, raftstore.ArchiveMeta{
		Machine: "ha-dispatcher", Index: view.Index(), Term: 1, Size: size,
	}, view)
}
