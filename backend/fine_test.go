package backend

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func because(r mesos.TaskStatus_Reason) func(*mesos.TaskStatus) {
	return func(st *mesos.TaskStatus) { st.Reason = &r }
}

func withData(text string) func(*mesos.TaskStatus) {
	return func(st *mesos.TaskStatus) { st.Data = []byte(text) }
}

func addedTo(f *fakeTasks) []string { return f.added }
func lostTo(f *fakeTasks) []string  { return f.lost }

func TestOffersOfOneAgentAreTakenTogether(t *testing.T) {
	s := newFineSuite(t, nil)
	s.give(TaskDescription{ID: 3, ExecutorID: "s1"}, TaskDescription{ID: 4, ExecutorID: "s1"})
	first, second := offerOf("1", execMem, 1), offerOf("1", 0, 2)
	second.ID.Value = "o1b"
	s.offer(first, second)
	tasks := s.launched("o1")
	wantEqual(t, "tasks", len(tasks), 2)
	wantEqual(t, "tasks on the other offer", len(s.launched("o1b")), 2)
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if want := []WorkerOffer{{"s1", "hosts1", 2}}; !slices.Equal(s.tasks.offers[0], want) {
		t.Errorf("worker offers %v", s.tasks.offers[0])
	}
}

// TestTheExecutorIsAddedOnce: Spark tells of it with each launch on its agent.
func TestTheExecutorIsAddedOnce(t *testing.T) {
	s := newFineSuite(t, nil)
	one := s.run(1, "1")
	two := s.run(2, "1")
	if !one.Executor.Equal(two.Executor) {
		t.Errorf("executors differ:\n%v\n%v", one.Executor, two.Executor)
	}
	s.run(3, "2")
	s.told("executors added", addedTo, "s1 hosts1 7", "s2 hosts2 7")
	if st := s.Status(); len(st.AgentExecutors) != 2 || st.CPUs != 5 || st.Live != 3 {
		t.Errorf("%+v", st)
	}
}

func TestAStatusIsToldBeforeItIsAcknowledged(t *testing.T) {
	s := newFineSuite(t, nil)
	s.run(1, "1")
	s.status(1, "1", mesos.TASK_RUNNING)
	st := s.status(1, "1", mesos.TASK_FINISHED, withData("result"))
	up := s.ended(1, mesosutil.TaskFinished)
	wantEqual(t, "data", string(up.Data), "result")
	wantEqual(t, "agent", up.ExecutorID, "s1")
	s.mesos.events <- mesosutil.EventUpdate{Status: st} // its acknowledgement got lost
	eventually(t, "acknowledgements", func() bool { return s.calls(func(m *fakeMesos) int { return len(m.acks) }) == 3 })
	if got := s.tasks.ends()[1]; len(got) != 1 {
		t.Errorf("told %v", got)
	}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	wantEqual(t, "first update", s.tasks.updates[0].State, mesosutil.TaskRunning)
}

func TestMesosStatesAreToldInSparksWords(t *testing.T) {
	s := newFineSuite(t, nil)
	for i, c := range []struct {
		state mesos.TaskState
		want  mesosutil.SparkTaskState
	}{
		{mesos.TASK_FINISHED, mesosutil.TaskFinished}, {mesos.TASK_FAILED, mesosutil.TaskFailed}, {mesos.TASK_KILLED, mesosutil.TaskKilled},
		{mesos.TASK_LOST, mesosutil.TaskLost}, {mesos.TASK_ERROR, mesosutil.TaskLost}, {mesos.TASK_DROPPED, mesosutil.TaskLost},
		{mesos.TASK_UNREACHABLE, mesosutil.TaskLost}, {mesos.TASK_UNKNOWN, mesosutil.TaskLost}, {mesos.TASK_GONE, mesosutil.TaskFailed},
		{mesos.TASK_GONE_BY_OPERATOR, mesosutil.TaskFailed},
	} {
		id := int64(10 * i)
		agent := string(rune('a' + i))
		s.run(id, agent)
		s.status(id, agent, c.state)
		s.ended(id, c.want)
	}
}

// TestATaskIDThatIsNoNumberIsNoEnd: Spark's driver stops at it.
func TestATaskIDThatIsNoNumberIsNoEnd(t *testing.T) {
	s := newFineSuite(t, nil)
	for _, id := range []string{"x", "", "-1", "01", "1 ", "99999999999999999999", "7"} {
		state := mesos.TASK_RUNNING
		s.mesos.events <- mesosutil.EventUpdate{Status: mesos.TaskStatus{TaskID: mesos.TaskID{Value: id}, State: &state, UUID: []byte(id + "u")}}
	}
	eventually(t, "acknowledgements", func() bool { return s.calls(func(m *fakeMesos) int { return len(m.acks) }) == 7 })
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if len(s.tasks.updates) != 0 {
		t.Errorf("%v", s.tasks.updates)
	}
}

func TestATaskThatCannotBeLaunchedIsRefused(t *testing.T) {
	s := newFineSuite(t, nil)
	s.run(5, "9")
	for _, c := range []struct {
		name string
		task TaskDescription
		why  string
	}{
		{"negative id", TaskDescription{ID: -1}, "between 0"},
		{"largest id", TaskDescription{ID: math.MaxInt64}, "between 0"},
		{"used id", TaskDescription{ID: 5}, "used before"},
		{"smaller id", TaskDescription{ID: 4}, "used before"},
		{"other agent", TaskDescription{ID: 6, ExecutorID: "s7"}, "not among those offered"},
		{"too many cpus", TaskDescription{ID: 6, ExecutorID: "s1", CPUs: 3.5}, "only 3 cpus"},
		{"no cpus", TaskDescription{ID: 6, ExecutorID: "s1", CPUs: -1}, "at least"},
		{"cpus that are no number", TaskDescription{ID: 6, ExecutorID: "s1", CPUs: math.NaN()}, "at least"},
		{"long name", TaskDescription{ID: 6, ExecutorID: "s1", Name: strings.Repeat("n", 5000)}, "name is longer"},
		{"much data", TaskDescription{ID: 6, ExecutorID: "s1", Data: make([]byte, MaxTaskData+1)}, "data are longer"},
	} {
		set := s.fineSettings()
		p := sortOffers(s.fineApp(), set, []mesos.Offer{offerOf("1", execMem, 4)}, time.Now(), func(string) bool { return false })
		refused := p.assign(set, []TaskDescription{c.task}, s.fineApp().NextNumber)
		if len(refused) != 1 || !strings.Contains(refused[0].err.Error(), c.why) || refused[0].err.TaskID != c.task.ID {
			t.Errorf("%s: %+v", c.name, refused)
		}
	}
	s.tasks.note(func() {
		s.tasks.give = append(s.tasks.give, TaskDescription{ID: 5}, TaskDescription{ID: 8, ExecutorID: "s1"}, TaskDescription{ID: 8, ExecutorID: "s1"})
	})
	s.offer(offerOf("1", execMem, 8))
	wantEqual(t, "launched", len(s.launched("o1")), 1)
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	var why *TaskError
	if len(s.tasks.refused) != 2 || !errors.As(s.tasks.refused[0], &why) || why.TaskID != 5 {
		t.Errorf("%v", s.tasks.refused)
	}
}

func (s *fineSuite) fineSettings() *Settings { return s.settings }
func (s *fineSuite) fineApp() *fsm.App       { a, _ := s.state.App("app"); return a }

func TestTasksOfAnExecutorThatIsGoneAreLost(t *testing.T) {
	s := newFineSuite(t, func(c *Config) { c.LossWait = 50 * time.Millisecond })
	s.run(1, "1")
	s.run(2, "1")
	s.run(3, "2")
	s.status(1, "1", mesos.TASK_RUNNING)
	exit := 9
	s.mesos.events <- mesosutil.EventFailure{AgentID: "s1", ExecutorID: "s1", Status: &exit}
	s.ended(1, mesosutil.TaskLost)
	s.ended(2, mesosutil.TaskLost)
	s.told("executors lost", lostTo, "s1: executor exited with status 9")
	if len(s.tasks.ends()[3]) != 0 {
		t.Error("a task elsewhere is lost with it")
	}
	wantEqual(t, "executor", s.run(4, "1").Executor.ExecutorID.Value, "s1")
	s.told("executors added", addedTo, "s1 hosts1 7", "s2 hosts2 7", "s1 hosts1 7")
	t.Run("and of an agent", func(t *testing.T) {
		s.mesos.events <- mesosutil.EventFailure{AgentID: "s2"}
		s.ended(3, mesosutil.TaskLost)
		s.told("executors lost", lostTo, "s1: executor exited with status 9", "s2: agent lost")
	})
}

// TestAResultThatIsOnItsWayIsNotLostWithTheExecutor: the agent sends the last
// status of each task when the one before is acknowledged.
func TestAResultThatIsOnItsWayIsNotLostWithTheExecutor(t *testing.T) {
	s := newFineSuite(t, func(c *Config) { c.LossWait = time.Hour })
	s.run(1, "1")
	s.status(1, "1", mesos.TASK_RUNNING)
	s.mesos.events <- mesosutil.EventFailure{AgentID: "s1", ExecutorID: "s1"}
	s.offer(s.offerAgain("1", "o9"))
	wantEqual(t, "refusal", s.refused("o9"), unset)
	s.status(1, "1", mesos.TASK_FINISHED, withData("result"))
	wantEqual(t, "data", string(s.ended(1, mesosutil.TaskFinished).Data), "result")
	s.told("executors lost", lostTo, "s1: executor lost")
	wantEqual(t, "held back", s.Status().HeldBack[ReasonLost], 1)
}

func TestAStatusThatSaysThatTheExecutorIsGone(t *testing.T) {
	s := newFineSuite(t, func(c *Config) { c.LossWait = 10 * time.Millisecond })
	s.run(1, "1")
	s.status(1, "1", mesos.TASK_FAILED) // by itself
	s.ended(1, mesosutil.TaskFailed)
	s.run(2, "1")
	s.run(3, "1")
	if got := s.Status().AgentExecutors[0].First; got != 1 {
		t.Errorf("a task that fails takes the executor with it: %d", got)
	}
	s.status(2, "1", mesos.TASK_GONE, because(mesos.REASON_EXECUTOR_TERMINATED))
	s.ended(2, mesosutil.TaskFailed)
	s.ended(3, mesosutil.TaskLost)
	eventually(t, "the end of the executor", func() bool { return len(s.Status().AgentExecutors) == 0 })
}

func TestALaunchThatIsDroppedStartsNoExecutor(t *testing.T) {
	s := newFineSuite(t, nil)
	s.run(1, "1")
	s.status(1, "1", mesos.TASK_DROPPED)
	s.ended(1, mesosutil.TaskLost)
	s.told("executors lost", lostTo, "s1: its first task never reached it")
}

func TestKillTask(t *testing.T) {
	s := newFineSuite(t, func(c *Config) { c.KillAgain = 5 * time.Millisecond })
	ctx := t.Context()
	for _, id := range []int64{0, 7, -1, math.MaxInt64} {
		if err := s.KillTask(ctx, id); !errors.Is(err, ErrUnknownTask) {
			t.Errorf("kill of %d: %v", id, err)
		}
	}
	s.run(1, "1")
	s.status(1, "1", mesos.TASK_RUNNING)
	s.do(s.KillTask(ctx, 1))
	eventually(t, "KILL, again and again", func() bool { return s.calls(func(m *fakeMesos) int { return len(m.kills) }) >= 3 })
	s.status(1, "1", mesos.TASK_FAILED) // killed, however it shows
	s.ended(1, mesosutil.TaskKilled)
	s.do(s.KillTask(ctx, 1))
}

func TestReviveOffers(t *testing.T) {
	s := newFineSuite(t, nil)
	s.offer(offerOf("1", execMem, 4))
	wantEqual(t, "refusal", s.refused("o1"), unset)
	revived := func() int { return s.calls(func(m *fakeMesos) int { return m.revived }) }
	if revived() != 0 {
		t.Error("revived though nobody asked")
	}
	s.ReviveOffers()
	eventually(t, "REVIVE", func() bool { return revived() == 1 })
}

func TestOffersThatNoTaskCanUseAreDeclined(t *testing.T) {
	s := newFineSuite(t, nil, "spark.mesos.constraints", "os:centos7", "spark.mesos.rejectOfferDurationForUnmetConstraints", "77s")
	text := func(o mesos.Offer) mesos.Offer {
		o.Attributes = []mesos.Attribute{{Name: "os", Type: mesos.TEXT, Text: &mesos.Value_Text{Value: "centos7"}}}
		return o
	}
	s.offer(offerOf("1", execMem, 4), text(offerOf("2", execMem, 1.5)), text(offerOf("3", execMem-1, 4)), text(offerOf("4", execMem, 2)))
	wantEqual(t, "refusal", s.refused("o1"), 77*time.Second)
	for _, o := range []string{"o2", "o3", "o4"} {
		wantEqual(t, "refusal of "+o, s.refused(o), unset)
	}
	for reason, want := range map[Reason]uint64{ReasonConstraints: 1, ReasonCores: 1, ReasonMemory: 1, ReasonNoTask: 1} {
		eventually(t, string(reason), func() bool { return s.Status().HeldBack[reason] == want })
	}
}

func TestTheSettingsOfFineGrainedMode(t *testing.T) {
	s := newFineSuite(t, nil)
	wantEqual(t, "parallelism", s.DefaultParallelism(), 8)
	wantEqual(t, "concurrent tasks", s.MaxNumConcurrentTasks(), 0)
	wantEqual(t, "sufficient", s.SufficientResourcesRegistered(), true)
	wantEqual(t, "application", s.ApplicationID(), "FW")
	set := fineSettings(t, Context{SparkHome: "/path"}, "spark.default.parallelism", "3", "spark.mesos.mesosExecutor.cores", "0.25")
	wantEqual(t, "parallelism", set.DefaultParallelism, 3)
	wantEqual(t, "cores", set.AgentExecutorCores, 0.25)
	for key, value := range map[string]string{
		"spark.task.cpus": "0", "spark.default.parallelism": "many", "spark.mesos.mesosExecutor.cores": "-1",
		"spark.executor.uri": "/-rf", "spark.mesos.executor.home": "/opt/my spark",
	} {
		var bad *InvalidError
		if _, err := parseSettings(Context{AppName: "a", SparkHome: "/p", Conf: props(key, value)}, fineGrained); !errors.As(err, &bad) || bad.Key != key {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	var bad *InvalidError
	if _, err := parseSettings(Context{AppName: "a", Conf: props("spark.executor.uri", "/s.tgz")}, fineGrained); !errors.As(err, &bad) || bad.Key != homeKey {
		t.Errorf("without a home: %v", err)
	}
}

func TestSecretsAreNotForFineGrainedExecutors(t *testing.T) {
	info := describedExecutor(t, fineSettings(t, Context{SparkHome: "/path", User: "me"},
		"spark.mesos.executor.secret.values", "s3", "spark.mesos.executor.secret.envkeys", "KEY", "spark.mesos.uris", "http://a/x, http://a/y",
		"spark.mesos.fetcherCache.enable", "true", "spark.executor.extraLibraryPath", "/lib", "spark.executor.extraJavaOptions", "-D={{APP_ID}}/{{EXECUTOR_ID}}"))
	for _, v := range info.Command.Environment.Variables {
		if v.Name == "KEY" || v.Secret != nil {
			t.Errorf("%v", v)
		}
	}
	options, _ := variable(info.Command, "SPARK_EXECUTOR_OPTS")
	wantEqual(t, "options", options, "-D=FW/s1")
	wantEqual(t, "command", info.Command.GetValue(), `LD_LIBRARY_PATH="/lib:$LD_LIBRARY_PATH" /path/bin/spark-class org.apache.spark.executor.MesosExecutorBackend`)
	if len(info.Command.URIs) != 2 || info.Command.URIs[0].GetCache() || info.Command.URIs[1].GetCache() {
		t.Errorf("%v", info.Command.URIs)
	}
}

// versioned is a log that tells what its members know.
type versioned struct {
	*soloLog
	version uint32
}

func (v versioned) Status() raftstore.Status { return raftstore.Status{MinVersion: v.version} }

func TestNothingIsLaunchedThatAMemberWouldNotUnderstand(t *testing.T) {
	s := newFineSuite(t, func(c *Config) { c.Log = versioned{c.Log.(*soloLog), 1} })
	s.give(TaskDescription{ID: 1, ExecutorID: "s1"})
	s.offer(offerOf("1", execMem, 4))
	wantEqual(t, "refusal", s.refused("o1"), unset)
	eventually(t, "the problem", func() bool { return errors.Is(s.Status().Problem, ErrOldMember) })
	wantEqual(t, "held back", s.Status().HeldBack[ReasonVersion], 1)
}

// TestAnExecutorOfOtherSettingsIsReplaced: Mesos takes no task that describes its
// executor in another way than the one that runs.
func TestAnExecutorOfOtherSettingsIsReplaced(t *testing.T) {
	word := "old"
	s := newFineSuite(t, func(c *Config) {
		c.Executor = func(AgentExecutorSpec) (*mesos.ExecutorInfo, error) {
			return &mesos.ExecutorInfo{Command: &mesos.CommandInfo{Value: &word}}, nil
		}
	})
	s.run(1, "1")
	s.restarted(func() { word = "new" })
	s.offer(s.offerAgain("1", "o8"))
	wantEqual(t, "refusal", s.refused("o8"), unset)
	if err := s.Status().Problem; err == nil || !strings.Contains(err.Error(), "other settings") {
		t.Errorf("%v", err)
	}
	s.status(1, "1", mesos.TASK_FINISHED)
	s.ended(1, mesosutil.TaskFinished)
	s.offer(s.offerAgain("1", "o9"))
	wantEqual(t, "refusal", s.refused("o9"), unset)
	s.told("executors lost", lostTo, "s1: it was started with other settings")
	wantEqual(t, "shut down", s.calls(func(m *fakeMesos) int { return len(m.shutdown) }), 1)
	wantEqual(t, "command", s.run(2, "1").Executor.Command.GetValue(), "new")
}

// restarted is the application in another process, after a change.
func (s *fineSuite) restarted(change func()) {
	t := s.t
	t.Helper()
	s.Close()
	change()
	var err error
	s.Fine, err = NewFine(s.cfg)
	s.do(err)
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.do(s.Start(ctx))
	eventually(t, "the subscription", func() bool { return s.Status().Subscribed })
}

func TestTheModesAreNotMixed(t *testing.T) {
	s := newFineSuite(t, nil)
	ctx := t.Context()
	n, body := fsm.NumberRegisterApp, &fsmpb.RegisterApp{AppId: "other", Name: "n", Totals: []*fsm.ProfileTotal{{Total: 1}}}
	_, err := s.resolve(ctx, n, body)
	s.do(err)
	cfg := s.cfg
	cfg.AppID, cfg.Scheduler = "other", s.tasks
	f, err := NewFine(cfg)
	s.do(err)
	defer f.Close()
	if err := f.Start(ctx); !errors.Is(err, ErrOtherMode) {
		t.Errorf("%v", err)
	}
}

func TestTheEndOfAFineGrainedApplication(t *testing.T) {
	s := newFineSuite(t, nil)
	s.run(1, "1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.do(s.Stop(ctx))
	st := s.Status()
	if st.Framework != fsm.FrameworkTornDown || st.Live != 0 || len(st.AgentExecutors) != 0 {
		t.Errorf("%+v", st)
	}
	if err := s.KillTask(ctx, 1); err != nil {
		t.Errorf("a kill of what is over: %v", err)
	}
}

// TestOffersSayWhichExecutorsThereAre: the end of an executor is told once, to
// whoever is subscribed then, and an agent that was away may come back with one.
func TestOffersSayWhichExecutorsThereAre(t *testing.T) {
	s := newFineSuite(t, nil)
	s.run(1, "1")
	s.status(1, "1", mesos.TASK_FINISHED)
	s.ended(1, mesosutil.TaskFinished)
	s.offer(offerOf("1", execMem, 4)) // names none
	s.told("executors lost", lostTo, "s1: mesos does not know it any more")
	o := offerOf("2", execMem, 4)
	o.ExecutorIDs = []mesos.ExecutorID{{Value: "s2"}, {Value: "another"}}
	s.offer(o)
	wantEqual(t, "refusal", s.refused("o2"), unset)
	eventually(t, "SHUTDOWN", func() bool { return s.calls(func(m *fakeMesos) int { return len(m.shutdown) }) == 1 })
	wantEqual(t, "held back", s.Status().HeldBack[ReasonUnknown], 1)
}

func TestARemovedFrameworkIsTold(t *testing.T) {
	s := newFineSuite(t, nil)
	s.run(1, "1")
	s.do(s.frameworkEvent(t.Context(), &fsmpb.FrameworkEvent{Event: fsm.FrameworkRemove, Message: "gone"}))
	s.told("errors", func(f *fakeTasks) []string { return f.errors }, "Mesos error: gone")
	s.ended(1, mesosutil.TaskLost)
}

// TestAResultThatNobodyHadIsWaitedFor: the leader committed the end of a task and
// died before it could tell of it. Mesos sends the status again.
func TestAResultThatNobodyHadIsWaitedFor(t *testing.T) {
	for _, again := range []bool{true, false} {
		s := newFineSuite(t, func(c *Config) {
			if c.LaunchQuiet = time.Hour; !again {
				c.LaunchQuiet = time.Millisecond
			}
		})
		s.run(1, "1")
		finished := mesos.TASK_FINISHED
		st := mesos.TaskStatus{TaskID: mesos.TaskID{Value: "1"}, AgentID: &mesos.AgentID{Value: "s1"}, State: &finished, UUID: []byte("u"), Data: []byte("result")}
		_, err := s.propose(t.Context(), fsm.NumberRecordExecutorStatuses, &fsmpb.RecordExecutorStatuses{AppId: "app", Statuses: []*fsm.Status{statusOf(&st)}})
		s.do(err)
		if again {
			s.mesos.events <- mesosutil.EventUpdate{Status: st}
			wantEqual(t, "data", string(s.ended(1, mesosutil.TaskFinished).Data), "result")
		} else if up := s.ended(1, mesosutil.TaskFinished); up.Data != nil {
			t.Errorf("%+v", up)
		}
	}
}

func TestATakeOverAdoptsWhatThereIs(t *testing.T) {
	s := newFineSuite(t, nil)
	s.run(1, "1")
	s.run(4, "2")
	s.status(1, "1", mesos.TASK_FINISHED)
	s.ended(1, mesosutil.TaskFinished)
	s.restarted(func() {})
	s.tasks.mu.Lock()
	a := s.tasks.adopted[len(s.tasks.adopted)-1]
	s.tasks.mu.Unlock()
	live := AdoptedTask{4, "task", "s2", "hosts2", 1, mesosutil.TaskLaunching}
	ended := AdoptedTask{1, "task", "s1", "hosts1", 1, mesosutil.TaskFinished}
	if a.NextTaskID != 5 || !slices.Equal(a.Live, []AdoptedTask{live}) || !slices.Equal(a.Ended, []AdoptedTask{ended}) ||
		!slices.Equal(a.Executors, []AdoptedExecutor{{"s1", "hosts1"}, {"s2", "hosts2"}}) {
		t.Errorf("%+v", a)
	}
	s.status(4, "2", mesos.TASK_FAILED)
	s.ended(4, mesosutil.TaskFailed)
}
