package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

var taskStates = map[string]TaskState{
	"STARTING": TaskStarting, "RUNNING": TaskRunning, "FINISHED": TaskFinished, "FAILED": TaskFailed,
	"KILLED": TaskKilled, "LOST": TaskLost, "STAGING": TaskStaging, "ERROR": TaskError, "KILLING": TaskKilling,
	"DROPPED": TaskDropped, "UNREACHABLE": TaskUnreachable, "GONE": TaskGone,
	"GONE_BY_OPERATOR": TaskGoneByOperator, "UNKNOWN": TaskUnknown,
}

// Where a status of the current attempt leads to, by hand: a row per task state
// (with /reason, or /wait for the policy to wait for unreachable agents), a
// column per state of the driver; +s is supervised.
const statusTable = `
                        LAUNCHING  LAUNCHING+s  RUNNING   RUNNING+s  KILLING   KILLING+s
STAGING                 LAUNCHING  LAUNCHING    RUNNING   RUNNING    KILLING   KILLING
STARTING                RUNNING    RUNNING      RUNNING   RUNNING    KILLING   KILLING
RUNNING                 RUNNING    RUNNING      RUNNING   RUNNING    KILLING   KILLING
RUNNING/reconciliation  RUNNING    RUNNING      RUNNING   RUNNING    KILLING   KILLING
KILLING                 RUNNING    RUNNING      RUNNING   RUNNING    KILLING   KILLING
FINISHED                FINISHED   FINISHED     FINISHED  FINISHED   FINISHED  FINISHED
FAILED                  FAILED     RETRYING     FAILED    RETRYING   KILLED    KILLED
FAILED/reconciliation   FAILED     RETRYING     FAILED    RETRYING   KILLED    KILLED
KILLED                  KILLED     KILLED       KILLED    KILLED     KILLED    KILLED
ERROR                   ERROR      ERROR        ERROR     ERROR      KILLED    KILLED
LOST                    LOST       RETRYING     LOST      RETRYING   KILLED    KILLED
LOST/reconciliation     QUEUED     QUEUED       LOST      RETRYING   KILLED    KILLED
LOST/invalid_offers     QUEUED     QUEUED       LOST      RETRYING   KILLED    KILLED
LOST/other              LOST       RETRYING     LOST      RETRYING   KILLED    KILLED
DROPPED                 QUEUED     QUEUED       LOST      RETRYING   KILLED    KILLED
DROPPED/reconciliation  QUEUED     QUEUED       LOST      RETRYING   KILLED    KILLED
UNREACHABLE             LOST       RETRYING     LOST      RETRYING   KILLED    KILLED
UNREACHABLE/wait        LAUNCHING  LAUNCHING    RUNNING   RUNNING    KILLING   KILLING
UNREACHABLE/reconciliation LOST    RETRYING     LOST      RETRYING   KILLED    KILLED
GONE                    LOST       RETRYING     LOST      RETRYING   KILLED    KILLED
GONE/reconciliation     QUEUED     QUEUED       LOST      RETRYING   KILLED    KILLED
GONE_BY_OPERATOR        LOST       RETRYING     LOST      RETRYING   KILLED    KILLED
GONE_BY_OPERATOR/reconciliation LOST RETRYING   LOST      RETRYING   KILLED    KILLED
UNKNOWN                 LOST       RETRYING     LOST      RETRYING   KILLED    KILLED
UNKNOWN/reconciliation  LOST       RETRYING     LOST      RETRYING   KILLED    KILLED
UNKNOWN/wait            LOST       RETRYING     LOST      RETRYING   KILLED    KILLED
`

func TestAStatusOfTheCurrentAttemptMovesItsDriver(t *testing.T) {
	rows, columns, want := goldenTable(statusTable)
	seen := make(map[string]bool)
	for _, row := range rows {
		name, variant, _ := strings.Cut(row, "/")
		seen[name] = true
		for _, column := range columns {
			t.Run(row+"_in_"+column, func(t *testing.T) {
				n := subscribed(t)
				n.policy(func(p *Policy) { p.WaitForUnreachable = variant == "wait" })
				state, super, _ := strings.Cut(column, "+")
				id := n.submit(func(c *fsmpb.SubmitDriver) { c.Supervise = super == "s" })
				task := n.launch(id)
				if state == "RUNNING" {
					n.status(task, TaskRunning)
				}
				if state == "KILLING" {
					n.kill(id)
				}
				wantState(t, n.driver(id), DriverState(state))
				r := n.status(task, taskStates[name], variantReason(variant))
				if r.Code != 0 || r.Kill || r.DriverId != id {
					t.Fatalf("result %v", r)
				}
				d := n.driver(id)
				wantState(t, d, DriverState(want[[2]string{row, column}]))
				checkEnded(t, d, taskStates[name])
			})
		}
	}
	if len(seen) != len(taskStates) {
		t.Errorf("table has %d task states of %d", len(seen), len(taskStates))
	}
}

func variantReason(variant string) func(*Status) {
	switch variant {
	case "reconciliation":
		return reason(ReasonReconciliation)
	case "invalid_offers":
		return reason(ReasonInvalidOffers)
	case "other":
		return reason(1)
	}
	return func(*Status) {}
}

func checkEnded(t *testing.T, d *Driver, state TaskState) {
	t.Helper()
	a := d.Current()
	if a.Last == nil || a.Last.State != int32(state) || d.LastStatus() != a.Last {
		t.Errorf("status is not recorded: %v", a.Last)
	}
	if (a.EndedMs == 0) != d.State.Active() {
		t.Errorf("attempt ended at %d, driver is %s", a.EndedMs, d.State)
	}
	if (d.FinishedMs == 0) == d.State.Terminal() {
		t.Errorf("driver finished at %d and is %s", d.FinishedMs, d.State)
	}
	if a.Dropped != (d.State == DriverQueued) && d.State != DriverKilled {
		t.Errorf("dropped: %v in %s", a.Dropped, d.State)
	}
}

func TestAStatusOfAnotherAttemptIsRecordedAndNeverActedOn(t *testing.T) {
	standings := map[string]func(*testing.T, *node) (id, oldTask string){
		"RETRYING": func(t *testing.T, n *node) (string, string) {
			id := n.submit(supervised)
			task := n.launch(id)
			n.status(task, TaskFailed)
			return id, task
		},
		"relaunched": func(t *testing.T, n *node) (string, string) {
			id := n.submit(supervised)
			task := n.launch(id)
			n.status(task, TaskFailed)
			n.launch(id)
			return id, task
		},
		"relaunched and running": func(t *testing.T, n *node) (string, string) {
			id := n.submit(supervised)
			task := n.launch(id)
			n.status(task, TaskLost)
			n.status(n.launch(id), TaskRunning)
			return id, task
		},
		"QUEUED again": func(t *testing.T, n *node) (string, string) {
			id := n.submit(nil)
			task := n.launch(id)
			n.status(task, TaskDropped)
			return id, task
		},
		"FINISHED": func(t *testing.T, n *node) (string, string) {
			id := n.submit(nil)
			task := n.launch(id)
			n.status(task, TaskFinished)
			return id, task
		},
		"LOST": func(t *testing.T, n *node) (string, string) {
			id := n.submit(nil)
			task := n.launch(id)
			n.status(task, TaskUnreachable)
			return id, task
		},
	}
	kills := map[TaskState]bool{TaskStaging: true, TaskStarting: true, TaskRunning: true, TaskKilling: true}
	for name, arrange := range standings {
		for stateName, state := range taskStates {
			t.Run(name+"_"+stateName, func(t *testing.T) {
				n := subscribed(t)
				id, task := arrange(t, n)
				before := n.driver(id)
				number := n.s.View().NextChange()
				_, was := before.attempt(task)
				overtaken := TaskState(was.Last.State).final() && !state.final()
				r := n.status(task, state)
				after := n.driver(id)
				if Code(r.Code) != CodeStale || r.Kill != (kills[state] && !overtaken) || r.DriverId != id {
					t.Errorf("result %v", r)
				}
				if after.State != before.State || after.Retries != before.Retries || after.NotBeforeMs != before.NotBeforeMs {
					t.Errorf("driver moved from %s to %s", before.State, after.State)
				}
				if _, a := after.attempt(task); (a.Last.State != int32(state)) != overtaken && was.Last.State != int32(state) {
					t.Errorf("recorded task state %d", a.Last.State)
				}
				if n.s.View().NextChange() != number {
					t.Error("a stale status shows as a change")
				}
				checkInvariants(t, n.s)
			})
		}
	}
}

func TestAStatusOfNoKnownAttempt(t *testing.T) {
	n := subscribed(t)
	id := n.submit(nil)
	for _, c := range []struct {
		name, task string
		state      TaskState
		want       Code
		kill       bool
	}{
		{"attempt that the state never made, alive", id + "-retry-7", TaskRunning, CodeStale, true},
		{"attempt that the state never made, ended", id + "-retry-7", TaskFailed, CodeStale, false},
		{"driver that was never launched", id, TaskRunning, CodeStale, true},
		{"unknown driver", "nobody", TaskRunning, CodeUnknownTask, false},
		{"unknown driver, later attempt", "nobody-retry-1", TaskFailed, CodeUnknownTask, false},
		{"no task id", "", TaskRunning, CodeUnknownTask, false},
		{"bare suffix", "-retry-1", TaskRunning, CodeUnknownTask, false},
		{"task state of the future", id, 14, CodeMalformed, false},
		{"negative task state", id, -1, CodeMalformed, false},
		{"task id without end", strings.Repeat("x", maxText+1), TaskRunning, CodeMalformed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := n.status(c.task, c.state)
			if Code(r.Code) != c.want || r.Kill != c.kill {
				t.Errorf("%s, kill %v; want %s, kill %v", Code(r.Code), r.Kill, c.want, c.kill)
			}
			wantState(t, n.driver(id), DriverQueued)
		})
	}
}

func TestARepeatedStatusIsADuplicate(t *testing.T) {
	n := subscribed(t)
	id := n.submit(supervised)
	task := n.launch(id)
	uuid := func(u string) func(*Status) { return func(st *Status) { st.Uuid = []byte(u) } }
	wantCode(t, n.status(task, TaskRunning, uuid("1")).Code, CodeOK)
	wantCode(t, n.status(task, TaskRunning, uuid("1")).Code, CodeDuplicate)
	wantCode(t, n.status(task, TaskRunning, uuid("2")).Code, CodeOK)
	wantCode(t, n.status(task, TaskFailed, uuid("3")).Code, CodeOK)
	wantCode(t, n.status(task, TaskFailed, uuid("3")).Code, CodeDuplicate)
	if d := n.driver(id); d.Retries != 1 {
		t.Errorf("a duplicate counted: %d retries", d.Retries)
	}
	old := n.launch(id)
	n.status(old, TaskLost)
	n.launch(id)
	n.status(old, TaskRunning, uuid("4"))
	if r := n.status(old, TaskRunning, uuid("4")); Code(r.Code) != CodeDuplicate || !r.Kill {
		t.Errorf("duplicate of an old attempt that runs: %v, want it killed", r)
	}
	wantCode(t, n.status(old, TaskRunning).Code, CodeStale) // no uuid: reconciliation; never a duplicate
}

func TestBackOffSeries(t *testing.T) {
	for _, c := range []struct {
		max  int32
		want string
	}{
		{60, "[1 2 4 8 16 32 60 60 60]"},
		{5, "[1 2 4 5 5 5 5 5 5]"},
		{1, "[1 1 1 1 1 1 1 1 1]"},
		{0, "[1 1 1 1 1 1 1 1 1]"},
	} {
		t.Run(fmt.Sprint(c.max), func(t *testing.T) {
			n := subscribed(t)
			n.policy(func(p *Policy) { p.RetryWaitMaxS = c.max })
			id := n.submit(supervised)
			var waits []int32
			for i := range 9 {
				n.now += 100_000
				n.status(n.launch(id), TaskFailed)
				d := n.driver(id)
				waits = append(waits, d.WaitSeconds)
				if d.NotBeforeMs != n.now+int64(d.WaitSeconds)*1000 || d.Retries != int32(i+1) {
					t.Fatalf("not before %d at %d after retry %d", d.NotBeforeMs, n.now, d.Retries)
				}
			}
			if got := fmt.Sprint(waits); got != c.want {
				t.Errorf("waits %s, want %s", got, c.want)
			}
		})
	}
}

func TestBackOffNeverOverflows(t *testing.T) {
	n := subscribed(t)
	n.policy(func(p *Policy) { p.RetryWaitMaxS = 1<<31 - 1 })
	id := n.submit(supervised)
	for range 70 {
		n.status(n.launch(id), TaskFailed)
		if d := n.driver(id); d.WaitSeconds < 1 || d.NotBeforeMs <= n.now {
			t.Fatalf("wait of %d s after %d failures", d.WaitSeconds, d.Retries)
		}
	}
}

func TestRetriesEndAtTheLimit(t *testing.T) {
	for _, c := range []struct {
		name                  string
		driver, policy, tries int32
	}{
		{"of the policy", 0, 3, 3}, {"of the driver", 2, 5, 2}, {"of the driver, larger", 4, 2, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := subscribed(t)
			n.policy(func(p *Policy) { p.MaxRetries = c.policy })
			id := n.submit(func(s *fsmpb.SubmitDriver) { s.Supervise, s.MaxRetries = true, c.driver })
			for range c.tries {
				n.status(n.launch(id), TaskFailed)
				wantState(t, n.driver(id), DriverRetrying)
			}
			n.status(n.launch(id), TaskFailed, func(st *Status) { st.Message = "boom" })
			d := n.driver(id)
			wantState(t, d, DriverFailed)
			if want := fmt.Sprintf("gave up after %d retries: boom", c.tries); d.Reason != want {
				t.Errorf("reason %q, want %q", d.Reason, want)
			}
		})
	}
	t.Run("a negative limit of the driver is none", func(t *testing.T) {
		n := subscribed(t)
		n.policy(func(p *Policy) { p.MaxRetries = 1 })
		id := n.submit(func(s *fsmpb.SubmitDriver) { s.Supervise, s.MaxRetries = true, -1 })
		for range 10 {
			n.status(n.launch(id), TaskFailed)
			wantState(t, n.driver(id), DriverRetrying)
		}
	})
}

func TestALongHealthyRunStartsTheSeriesAgain(t *testing.T) {
	n := subscribed(t)
	n.policy(func(p *Policy) { p.BackoffResetMs, p.MaxRetries = 60_000, 3 })
	id := n.submit(supervised)
	fail := func(after int64) *Driver {
		task := n.launch(id)
		n.status(task, TaskRunning)
		n.now += after
		n.status(task, TaskFailed)
		return n.driver(id)
	}
	for range 3 {
		fail(59_999)
	}
	if d := n.driver(id); d.Retries != 3 || d.WaitSeconds != 4 {
		t.Fatalf("%d retries, wait %d s", d.Retries, d.WaitSeconds)
	}
	d := fail(60_000) // the limit is reached, but what failed long ago no longer counts
	wantState(t, d, DriverRetrying)
	if d.Retries != 1 || d.WaitSeconds != 1 {
		t.Errorf("%d retries, wait %d s after a healthy run", d.Retries, d.WaitSeconds)
	}
	if d = fail(-100_000); d.Retries != 2 {
		t.Errorf("a clock set back reset the series: %d retries", d.Retries)
	}
}

func TestRetryOnNamesTheTaskStates(t *testing.T) {
	for name, state := range taskStates {
		if retryStates&(1<<uint(state)) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			n := subscribed(t)
			n.policy(func(p *Policy) { p.RetryOn = 1 << uint(state) })
			end := func(s TaskState) DriverState {
				id := n.submit(supervised)
				task := n.launch(id)
				n.status(task, TaskRunning)
				n.status(task, s)
				return n.driver(id).State
			}
			if got := end(state); got != DriverRetrying {
				t.Errorf("named state leads to %s", got)
			}
			for other, s := range taskStates {
				if s != state && !s.alive() && !end(s).Terminal() {
					t.Errorf("%s is retried too", other)
				}
			}
		})
	}
}

func TestDroppedLaunchesBackOffAndKeepTheirPlace(t *testing.T) {
	n := subscribed(t)
	first, second := n.submit(nil), n.submit(nil)
	last := int64(0)
	for i := range 30 {
		n.status(n.launch(first), TaskDropped)
		d := n.driver(first)
		wantState(t, d, DriverQueued)
		wait := d.NotBeforeMs - n.now
		if wait < last || wait > dropWaitMaxMs || wait < dropWaitMs || d.Drops != int32(i+1) || d.Retries != 0 {
			t.Fatalf("drop %d: wait of %d ms after %d, %d retries", d.Drops, wait, last, d.Retries)
		}
		last = wait
	}
	if got := waitingIDs(n.s); got[0] != first || got[1] != second {
		t.Errorf("queue is %v", got)
	}
	n.status(n.launch(first), TaskRunning)
	if d := n.driver(first); d.Drops != 0 {
		t.Errorf("%d drops counted after a start", d.Drops)
	}
}

func TestAnUnreachableDriverThatIsWaitedForGoesOn(t *testing.T) {
	n := subscribed(t)
	n.policy(func(p *Policy) { p.WaitForUnreachable = true })
	id := n.submit(supervised)
	task := n.launch(id)
	n.status(task, TaskRunning)
	n.status(task, TaskUnreachable)
	if d := n.driver(id); d.State != DriverRunning || d.Current().EndedMs != 0 {
		t.Fatalf("%s, ended %d", d.State, d.Current().EndedMs)
	}
	n.status(task, TaskRunning)
	n.status(task, TaskUnreachable)
	n.status(task, TaskGone)
	wantState(t, n.driver(id), DriverRetrying)
}

func TestAReturningAttemptIsKilledWhileItsSuccessorRuns(t *testing.T) {
	n := subscribed(t)
	id := n.submit(supervised)
	old := n.launch(id)
	n.status(old, TaskRunning)
	n.status(old, TaskUnreachable)
	current := n.launch(id)
	n.status(current, TaskRunning)
	if r := n.status(old, TaskRunning); Code(r.Code) != CodeStale || !r.Kill {
		t.Fatalf("old attempt: %v, want it killed", r)
	}
	for _, s := range []TaskState{TaskKilled, TaskFinished, TaskFailed} { // SPARK-27347
		n.status(old, s)
		wantState(t, n.driver(id), DriverRunning)
	}
}

func TestTheReasonOfAnEndIsThatEnds(t *testing.T) {
	n := subscribed(t)
	id := n.submit(supervised)
	n.launch(id)
	n.ok(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: FrameworkRemove})
	n.ok(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: FrameworkReset})
	n.ok(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: FrameworkSubscribe, FrameworkId: "fw2"})
	task := n.launch(id)
	n.status(task, TaskError, func(st *Status) { st.Message = "bad command" })
	if d := n.driver(id); d.Reason != "bad command" {
		t.Errorf("reason %q", d.Reason)
	}
}

func TestALongMessageIsCutInsideNoCharacter(t *testing.T) {
	n := subscribed(t)
	id := n.submit(nil)
	task := n.launch(id)
	n.status(task, TaskFailed, func(st *Status) { st.Message = "x" + strings.Repeat("ü", maxText) })
	got := n.driver(id).Current().Last.Message
	if len(got) != maxText-1 || got != "x"+strings.Repeat("ü", (maxText-1)/2) {
		t.Errorf("message of %d bytes", len(got))
	}
	restored(t, snapshot(t, n.s))
}
