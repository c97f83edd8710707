package fsm

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// untouched runs do and fails when it changed anything but the index.
func (n *node) untouched(do func()) {
	n.t.Helper()
	before := n.s.View()
	do()
	after := n.s.View()
	before.s.index, before.s.timeMs = after.s.index, after.s.timeMs
	if string(snapshotOf(before)) != string(snapshotOf(after)) {
		n.t.Error("a refusal changed the state")
	}
}

func TestEveryCommandNumberIsRegisteredOnce(t *testing.T) {
	want := map[Number]string{
		1: "submit driver", 2: "kill driver", 3: "launch drivers", 4: "reject driver", 5: "record statuses",
		6: "set policy", 7: "framework event", 8: "upsert node", 9: "remove node", 10: "import driver", 11: "import drivers",
		64: "register app", 65: "app framework event", 66: "set totals", 67: "launch executors",
		68: "record executor statuses", 69: "kill executors", 70: "exclude host", 71: "stop app",
		72: "host app", 73: "keep app", 74: "expire app",
		80: "launch tasks", 81: "end agent executor",
	}
	since := func(n Number) uint32 {
		if n > 71 || n == 11 {
			return 2
		}
		return 1
	}
	for n := Number(0); n < 300; n++ {
		if name, known := want[n]; known && (n.Name() != name || n.Since() != since(n)) {
			t.Errorf("number %d is %s since %d, want %s", n, n.Name(), n.Since(), name)
		} else if !known && (n.Since() != 0 || !strings.HasPrefix(n.Name(), "unknown command")) {
			t.Errorf("number %d is %s", n, n.Name())
		}
		if n.Since() > CommandVersion {
			t.Errorf("number %d needs set %d, newest is %d", n, n.Since(), CommandVersion)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a number can be registered twice")
		}
	}()
	register(NumberSubmitDriver, "again", 1, applySubmitDriver)
}

func TestAnEntryThatIsNoCommandIsRefused(t *testing.T) {
	n := subscribed(t)
	n.submit(nil)
	id := RequestID{5}
	encode := func(c *fsmpb.Command) []byte {
		data, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, c := range []struct {
		name  string
		entry []byte
		want  Code
	}{
		{"empty", nil, CodeUnknownCommand},
		{"garbage", []byte{0xff, 0xff, 0xff}, CodeMalformed},
		{"text", []byte("no command"), CodeMalformed},
		{"number of the future", encode(&fsmpb.Command{Number: 200, RequestId: id[:], TimeMs: 1}), CodeUnknownCommand},
		{"largest number", encode(&fsmpb.Command{Number: math.MaxUint32, RequestId: id[:], TimeMs: 1}), CodeUnknownCommand},
		{"no request id", encode(&fsmpb.Command{Number: 1, TimeMs: 1}), CodeMalformed},
		{"request id of zeros", encode(&fsmpb.Command{Number: 1, RequestId: make([]byte, 16), TimeMs: 1}), CodeMalformed},
		{"short request id", encode(&fsmpb.Command{Number: 1, RequestId: id[:15], TimeMs: 1}), CodeMalformed},
		{"long request id", encode(&fsmpb.Command{Number: 1, RequestId: append(id[:], 1), TimeMs: 1}), CodeMalformed},
		{"no time", encode(&fsmpb.Command{Number: 1, RequestId: id[:]}), CodeMalformed},
		{"negative time", encode(&fsmpb.Command{Number: 1, RequestId: id[:], TimeMs: -1}), CodeMalformed},
		{"time without end", encode(&fsmpb.Command{Number: 1, RequestId: id[:], TimeMs: math.MaxInt64}), CodeMalformed},
		{"too long", make([]byte, maxCommand+1), CodeMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.t = t
			n.untouched(func() { wantCode(t, n.raw(c.entry).Code, c.want) })
		})
	}
	for number := range Number(10) {
		if number == 0 {
			continue
		}
		t.Run("body of "+number.Name(), func(t *testing.T) {
			n.t = t
			n.untouched(func() {
				entry := encode(&fsmpb.Command{Number: uint32(number), RequestId: id[:], TimeMs: 1, Body: []byte{0xff}})
				wantCode(t, n.raw(entry).Code, CodeMalformed)
			})
		})
	}
	t.Run("text that is no UTF-8", func(t *testing.T) {
		body := append([]byte{0x0a, 2}, 0xff, 0xfe) // id_prefix
		entry := encode(&fsmpb.Command{Number: 1, RequestId: id[:], TimeMs: 1, Body: body})
		n.t = t
		n.untouched(func() { wantCode(t, n.raw(entry).Code, CodeMalformed) })
	})
	t.Run("invalid text is not encoded", func(t *testing.T) {
		if _, err := Encode(NumberKillDriver, n.stamp(), &fsmpb.KillDriver{DriverId: "\xff"}); err == nil {
			t.Error("Encode took invalid UTF-8")
		}
	})
}

func TestFieldsOfTheFutureAreDropped(t *testing.T) {
	n := subscribed(t)
	node := []byte{0x0a, 2, 'n', '1', 0x9a, 0x06, 3, 'n', 'e', 'w'} // id, and field 99
	body := append([]byte{0x0a, byte(len(node))}, node...)
	data, _ := proto.Marshal(&fsmpb.Command{Number: uint32(NumberUpsertNode), RequestId: append([]byte{1}, make([]byte, 15)...), TimeMs: 1, Body: body})
	wantCode(t, n.raw(data).Code, CodeOK)
	if got, _ := n.s.Node("n1"); got == nil || len(got.ProtoReflect().GetUnknown()) != 0 {
		t.Errorf("node is %v", got)
	}
}

func TestSubmit(t *testing.T) {
	t.Run("gives the next number", func(t *testing.T) {
		n := subscribed(t)
		for i := range 3 {
			if id, want := n.submit(nil), fmt.Sprintf("driver-%04d", i+1); id != want {
				t.Errorf("id %s, want %s", id, want)
			}
		}
		n.s.s.nextSeq = 123456
		if id := n.submit(nil); id != "driver-123456" {
			t.Errorf("id %s", id)
		}
	})
	t.Run("keeps what was asked for", func(t *testing.T) {
		n := subscribed(t)
		d := n.driver(n.submit(func(c *fsmpb.SubmitDriver) {
			c.MainClass, c.Queue, c.Priority, c.Supervise, c.MaxRetries = "Main", "q", 2.5, true, 7
			c.Spec, c.User, c.SubmittedMs = []byte{1, 2}, "u", 42
		}))
		if d.MainClass != "Main" || d.Queue != "q" || d.Priority != 2.5 || !d.Supervise || d.MaxRetries != 7 ||
			string(d.Spec) != "\x01\x02" || d.User != "u" || d.SubmittedMs != 42 || d.ChangedMs != n.now || d.Name != "job" {
			t.Errorf("%+v", d)
		}
		wantState(t, d, DriverQueued)
	})
	t.Run("an id that is taken is passed over for good", func(t *testing.T) {
		n := subscribed(t)
		n.policy(func(p *Policy) { p.RetainedDrivers = 1 })
		n.submit(func(c *fsmpb.SubmitDriver) { c.DriverId = "driver-0002" }) // takes number 1
		if id := n.submit(nil); id != "driver-0003" {
			t.Fatalf("id %s", id)
		}
		n.kill("driver-0003")
		n.kill("driver-0002") // forgets driver-0003
		if id := n.submit(nil); id != "driver-0004" {
			t.Errorf("id %s is given again", id)
		}
	})
	for _, c := range []struct {
		name   string
		change func(*fsmpb.SubmitDriver)
		want   Code
	}{
		{"NaN priority", func(c *fsmpb.SubmitDriver) { c.Priority = math.NaN() }, CodeMalformed},
		{"infinite priority", func(c *fsmpb.SubmitDriver) { c.Priority = math.Inf(-1) }, CodeMalformed},
		{"NaN cores", func(c *fsmpb.SubmitDriver) { c.Cores = math.NaN() }, CodeMalformed},
		{"infinite cores", func(c *fsmpb.SubmitDriver) { c.Cores = math.Inf(1) }, CodeMalformed},
		{"negative cores", func(c *fsmpb.SubmitDriver) { c.Cores = -1 }, CodeMalformed},
		{"negative memory", func(c *fsmpb.SubmitDriver) { c.MemMib = -1 }, CodeMalformed},
		{"negative time of submission", func(c *fsmpb.SubmitDriver) { c.SubmittedMs = -1 }, CodeMalformed},
		{"endless time of submission", func(c *fsmpb.SubmitDriver) { c.SubmittedMs = math.MaxInt64 }, CodeMalformed},
		{"id taken", func(c *fsmpb.SubmitDriver) { c.DriverId = "driver-0001" }, CodeConflict},
		{"id of a retry", func(c *fsmpb.SubmitDriver) { c.DriverId = "driver-0001-retry-1" }, CodeMalformed},
		{"prefix of a retry", func(c *fsmpb.SubmitDriver) { c.IdPrefix = "driver-0001-retry-" }, CodeMalformed},
		{"prefix that would become one", func(c *fsmpb.SubmitDriver) { c.IdPrefix = "a-retry-b" }, CodeMalformed},
		{"id that is a path", func(c *fsmpb.SubmitDriver) { c.DriverId = ".." }, CodeMalformed},
		{"id with a slash", func(c *fsmpb.SubmitDriver) { c.DriverId = "a/b" }, CodeMalformed},
		{"prefix with a line end", func(c *fsmpb.SubmitDriver) { c.IdPrefix = "a\n" }, CodeMalformed},
		{"long prefix", func(c *fsmpb.SubmitDriver) { c.IdPrefix = strings.Repeat("x", maxDriverID) }, CodeMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := subscribed(t)
			n.submit(nil)
			body := &fsmpb.SubmitDriver{IdPrefix: "driver-"}
			c.change(body)
			r := n.do(NumberSubmitDriver, body)
			wantCode(t, r.Code, c.want)
			if r.Message == "" || r.DriverId != "" || n.s.View().Len() != 1 {
				t.Errorf("%v, %d drivers", r, n.s.View().Len())
			}
			checkInvariants(t, n.s)
		})
	}
}

func TestTheQueueHasALimit(t *testing.T) {
	submit := &fsmpb.SubmitDriver{IdPrefix: "d-"}
	t.Run("of drivers that wait", func(t *testing.T) {
		n := subscribed(t)
		n.policy(func(p *Policy) { p.MaxDrivers = 2 })
		id := n.submit(nil)
		n.submit(nil)
		r := n.do(NumberSubmitDriver, submit)
		wantCode(t, r.Code, CodeQueueFull)
		if r.Message != "Already reached maximum submission size" {
			t.Errorf("message %q", r.Message)
		}
		n.launch(id)
		wantCode(t, n.do(NumberSubmitDriver, submit).Code, CodeOK)
		wantCode(t, n.do(NumberSubmitDriver, submit).Code, CodeQueueFull)
	})
	t.Run("of drivers launched, upstream's way", func(t *testing.T) {
		n := subscribed(t)
		n.policy(func(p *Policy) { p.MaxDrivers, p.MaxDriversCountsLaunched = 1, true })
		id := n.submit(nil)
		n.submit(nil)
		n.launch(id)
		wantCode(t, n.do(NumberSubmitDriver, submit).Code, CodeQueueFull)
	})
	t.Run("of none", func(t *testing.T) {
		n := subscribed(t)
		n.policy(func(p *Policy) { p.MaxDrivers = 0 })
		wantCode(t, n.do(NumberSubmitDriver, submit).Code, CodeQueueFull)
	})
}

func TestKill(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrange func(*node) string
		code    Code
		message string
		state   DriverState
	}{
		{"queued", func(n *node) string { return n.submit(nil) },
			CodeKilledQueued, "Removed driver while it's still pending", DriverKilled},
		{"retrying", func(n *node) string {
			id := n.submit(supervised)
			n.status(n.launch(id), TaskFailed)
			return id
		}, CodeKilledRetrying, "Removed driver while it's being retried", DriverKilled},
		{"launching", func(n *node) string {
			id := n.submit(nil)
			n.launch(id)
			return id
		}, CodeKillingRunning, "Killing running driver", DriverKilling},
		{"running", func(n *node) string {
			id := n.submit(nil)
			n.status(n.launch(id), TaskRunning)
			return id
		}, CodeKillingRunning, "Killing running driver", DriverKilling},
		{"killing", func(n *node) string {
			id := n.submit(nil)
			n.launch(id)
			n.kill(id)
			return id
		}, CodeKillingRunning, "Killing running driver", DriverKilling},
		{"finished", func(n *node) string {
			id := n.submit(nil)
			n.status(n.launch(id), TaskFinished)
			return id
		}, CodeTerminated, "Driver already terminated", DriverFinished},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := subscribed(t)
			id := c.arrange(n)
			r := n.kill(id)
			wantCode(t, r.Code, c.code)
			if r.Message != c.message || r.DriverId != id {
				t.Errorf("%v", r)
			}
			wantState(t, n.driver(id), c.state)
			if c.code != CodeTerminated && n.driver(id).Reason != "asked" {
				t.Errorf("reason %q", n.driver(id).Reason)
			}
			checkInvariants(t, n.s)
		})
	}
	t.Run("unknown", func(t *testing.T) {
		n := subscribed(t)
		r := n.kill("nobody")
		wantCode(t, r.Code, CodeNotFound)
		if r.Message != "Cannot find driver" || r.DriverId != "nobody" {
			t.Errorf("%v", r)
		}
	})
	t.Run("the first kill gives the reason", func(t *testing.T) {
		n := subscribed(t)
		id := n.submit(nil)
		n.launch(id)
		n.kill(id)
		changed := n.driver(id).ChangedMs
		n.now += 1000
		n.do(NumberKillDriver, &fsmpb.KillDriver{DriverId: id})
		if d := n.driver(id); d.Reason != "asked" || d.ChangedMs != changed {
			t.Errorf("reason %q, changed %d", d.Reason, d.ChangedMs)
		}
	})
}

func TestLaunch(t *testing.T) {
	n := subscribed(t)
	id := n.submit(supervised)
	try := func(attempt uint32, task string) *fsmpb.LaunchResult {
		return n.ok(NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{
			{DriverId: id, Attempt: attempt, TaskId: task, AgentId: "a"},
		}}).Launches[0]
	}
	wantCode(t, try(1, id+"-retry-1").Code, CodeConflict)
	wantCode(t, try(0, id+"-retry-0").Code, CodeMalformed)
	wantCode(t, try(0, "").Code, CodeMalformed)
	wantCode(t, n.ok(NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{DriverId: id, TaskId: id, AgentHost: strings.Repeat("h", maxText+1)}}}).Launches[0].Code, CodeMalformed)
	wantCode(t, try(0, id).Code, CodeOK)
	wantCode(t, try(0, id).Code, CodeConflict)
	wantCode(t, try(1, id+"-retry-1").Code, CodeIllegal)
	n.status(id, TaskFailed)
	wantCode(t, try(0, id).Code, CodeConflict)
	wantCode(t, try(1, id+"-retry-1").Code, CodeOK)
	if a := n.driver(id).Current(); a.Number != 1 || a.TaskID != id+"-retry-1" || a.LaunchedMs != n.now || a.AgentID != "a" {
		t.Errorf("%+v", a)
	}
	t.Run("a batch has one answer each", func(t *testing.T) {
		a, b := n.submit(nil), n.submit(nil)
		r := n.ok(NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{
			{DriverId: a, TaskId: a}, {DriverId: "nobody", TaskId: "nobody"}, {DriverId: a, TaskId: a}, {DriverId: b, TaskId: b},
		}})
		want := []Code{CodeOK, CodeNotFound, CodeConflict, CodeOK}
		for i, l := range r.Launches {
			wantCode(t, l.Code, want[i])
		}
		if len(n.ok(NumberLaunchDrivers, &fsmpb.LaunchDrivers{}).Launches) != 0 {
			t.Error("an empty batch has answers")
		}
	})
	t.Run("only under a framework that lives", func(t *testing.T) {
		id := n.submit(nil)
		for _, event := range []string{FrameworkDisconnect, FrameworkRemove, FrameworkReset} {
			n.ok(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: event})
			if event == FrameworkDisconnect {
				continue // the intent of a leader that is about to lose its stream is still good
			}
			l := n.ok(NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{DriverId: id, TaskId: id}}}).Launches[0]
			wantCode(t, l.Code, CodeNotReady)
			wantState(t, n.driver(id), DriverQueued)
		}
	})
}

func TestReject(t *testing.T) {
	n := subscribed(t)
	id := n.submit(nil)
	reject := func(id string) Code {
		return Code(n.do(NumberRejectDriver, &fsmpb.RejectDriver{DriverId: id, Reason: "no home"}).Code)
	}
	if c := reject(id); c != CodeOK || n.driver(id).State != DriverError || n.driver(id).Reason != "no home" {
		t.Errorf("%s: %+v", c, n.driver(id))
	}
	if c := reject(id); c != CodeIllegal {
		t.Errorf("second time: %s", c)
	}
	if c := reject("nobody"); c != CodeNotFound {
		t.Errorf("unknown driver: %s", c)
	}
	running := n.submit(nil)
	n.launch(running)
	if c := reject(running); c != CodeIllegal || n.driver(running).State != DriverLaunching {
		t.Errorf("launched driver: %s", c)
	}
}

func TestSetPolicy(t *testing.T) {
	n := subscribed(t)
	good := func() *Policy { return proto.Clone(DefaultPolicy()).(*Policy) }
	wantCode(t, n.do(NumberSetPolicy, good()).Code, CodeUnchanged)
	for name, change := range map[string]func(*Policy){
		"no window": func(p *Policy) { p.DedupWindow = 0 }, "negative window": func(p *Policy) { p.DedupWindow = -1 },
		"max drivers": func(p *Policy) { p.MaxDrivers = -1 }, "retained": func(p *Policy) { p.RetainedDrivers = -1 },
		"wait": func(p *Policy) { p.RetryWaitMaxS = -1 }, "retries": func(p *Policy) { p.MaxRetries = -1 },
		"reset": func(p *Policy) { p.BackoffResetMs = -1 }, "retry on success": func(p *Policy) { p.RetryOn = 1 << TaskFinished },
		"retry on a live task": func(p *Policy) { p.RetryOn = 1 << TaskRunning }, "retry on no state": func(p *Policy) { p.RetryOn = 1 << 14 },
	} {
		p := good()
		change(p)
		n.untouched(func() {
			if r := n.do(NumberSetPolicy, p); Code(r.Code) != CodeMalformed {
				t.Errorf("%s: %s", name, Code(r.Code))
			}
		})
	}
	p := good()
	p.MaxDrivers, p.RetryOn = 3, retryStates
	wantCode(t, n.do(NumberSetPolicy, p).Code, CodeOK)
	if !proto.Equal(n.s.Policy(), p) || !proto.Equal(n.s.View().Policy(), p) {
		t.Errorf("policy is %v", n.s.Policy())
	}
}

func TestNodes(t *testing.T) {
	n := newNode(t)
	put := func(id, addr string) Code {
		return Code(n.do(NumberUpsertNode, &fsmpb.UpsertNode{Node: &Node{Id: id, RaftAddr: addr}}).Code)
	}
	codes := []Code{put("b", "1"), put("b", "1"), put("b", "2"), put("a", "1"), put("", "1"),
		Code(n.do(NumberUpsertNode, &fsmpb.UpsertNode{}).Code),
		Code(n.do(NumberRemoveNode, &fsmpb.RemoveNode{Id: "c"}).Code)}
	want := []Code{CodeOK, CodeUnchanged, CodeOK, CodeOK, CodeMalformed, CodeMalformed, CodeUnchanged}
	if fmt.Sprint(codes) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", codes, want)
	}
	var ids []string
	n.s.View().Nodes(func(n *Node) bool { ids = append(ids, n.Id+n.RaftAddr); return true })
	if fmt.Sprint(ids) != "[a1 b2]" {
		t.Errorf("nodes %v", ids)
	}
	n.ok(NumberRemoveNode, &fsmpb.RemoveNode{Id: "b"})
	if _, found := n.s.Node("b"); found {
		t.Error("node b is still there")
	}
}

func TestOutcomesHaveNamesAndErrors(t *testing.T) {
	for c, name := range codeNames {
		err := ResultError(refuse(c, "why"))
		var refused *RefusedError
		if c.String() != name || c.Refused() != (c >= 100) || c.Refused() != errors.As(err, &refused) {
			t.Errorf("%d: %s, %v", c, c, err)
		}
		if refused != nil && (refused.Error() != "why" || refused.Code != c) {
			t.Errorf("%v", refused)
		}
	}
	if Code(99).String() != "code_99" || (&RefusedError{Code: CodeConflict}).Error() != "conflict" {
		t.Error("code without a name")
	}
	if _, err := DecodeResult([]byte{0xff}); err == nil {
		t.Error("garbage is decoded as a result")
	}
}

func TestTaskIDs(t *testing.T) {
	for _, c := range []struct {
		driver  string
		attempt uint32
		task    string
	}{{"d", 0, "d"}, {"d", 1, "d-retry-1"}, {"d-retry", 2, "d-retry-retry-2"}, {"d", math.MaxUint32, "d-retry-4294967295"}} {
		if got := TaskID(c.driver, c.attempt); got != c.task || DriverOfTask(got) != c.driver {
			t.Errorf("attempt %d of %s is %s, of %s", c.attempt, c.driver, got, DriverOfTask(got))
		}
	}
}
