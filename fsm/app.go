package fsm

import (
	"fmt"
	"math"
	"strconv"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// App is one application in client mode: a framework of its own, with executors.
// It is immutable: a change makes a new one. Its executors are records of their
// own, so that a status of one does not copy the others.
type App struct {
	ID        string
	Seq       uint64 // order of registration
	Name      string
	Spec      []byte // opaque to fsm
	User      string
	Framework Framework

	Totals   []*ProfileTotal // wanted, by profile
	TotalsMs int64           // when they were last set
	Hosts    []string        // preferred, sorted

	Exclusions       []*Exclusion // by agent, then by host
	MaxAgentFailures int32        // that exclude an agent; 0: never
	ExcludeMs        int64        // for how long; 0: for good

	NextNumber   uint64 // of the next executor; never used twice
	NextEnd      uint64 // place of the next executor to end
	Stopped      bool
	StopReason   string
	RegisteredMs int64
	StoppedMs    int64

	// Of an application that is hosted for a driver elsewhere; zero otherwise.
	FailoverTimeoutMs int64  `json:",omitempty"` // how long the driver may stay away
	Heard             uint64 `json:",omitempty"` // signs of life of the driver; its registration is the first
	HeardMs           int64  `json:",omitempty"` // the latest stamp of one, for people: the clocks of nodes differ
	// FineGrained tells that what the application launches are tasks, each on the
	// Mesos executor of its agent, and not executors by themselves.
	FineGrained    bool             `json:",omitempty"`
	AgentExecutors []*AgentExecutor `json:",omitempty"` // by agent id
}

// AgentExecutor is the Mesos executor of a fine-grained application on an agent.
type AgentExecutor = fsmpb.AgentExecutor

// OnAgent is the Mesos executor of a fine-grained application on an agent, or nil.
func (a *App) OnAgent(agentID string) *AgentExecutor {
	if i, found := findAgentExecutor(a.AgentExecutors, agentID); found {
		return a.AgentExecutors[i]
	}
	return nil
}

// ProfileTotal is how many executors of one resource profile are wanted.
type ProfileTotal = fsmpb.ProfileTotal

// Exclusion is what is held against an agent or a host.
type Exclusion = fsmpb.Exclusion

// Unlimited is the total of an application that takes what it gets.
const Unlimited = math.MaxInt32

// Executor is one executor of an application or, in fine-grained mode, one task
// on the Mesos executor of its agent. It is immutable.
type Executor struct {
	AppID       string
	Number      uint64
	State       ExecutorState
	Profile     uint32
	AgentID     string
	Host        string
	Cores       int64
	MemMiB      int64
	GPUs        int64
	FrameworkID string // under which it was launched
	LaunchedMs  int64  // the intent was made
	StartedMs   int64  // first status of a live task; 0: none yet
	RunningMs   int64  // first TASK_RUNNING; 0: none yet
	EndedMs     int64  // 0 until terminal
	EndSeq      uint64
	Last        *Status
	Dropped     bool
	Reason      string

	// Of a task in fine-grained mode.
	CPUs  float64 `json:",omitempty"`
	Name  string  `json:",omitempty"`
	First uint64  `json:",omitempty"` // AgentExecutor.First of the one that it runs on
}

// TaskID of the executor, which is its Spark executor id too: unique within the
// application, and so within its framework.
func (e *Executor) TaskID() string { return strconv.FormatUint(e.Number, 10) }

// executorNumber reads a task id as TaskID writes it.
func executorNumber(taskID string) (uint64, bool) {
	n, err := strconv.ParseUint(taskID, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == taskID
}

// executorKey orders executors by application and number. An application id
// holds no slash.
func executorKey(appID string, number uint64) string {
	return fmt.Sprintf("%s/%020d", appID, number)
}

// Total wanted of a profile.
func (a *App) Total(profile uint32) int64 {
	for _, p := range a.Totals {
		if p.Profile == profile {
			return p.Total
		}
	}
	return 0
}

// Excluded is what keeps executors off this agent at this time, or nil.
func (a *App) Excluded(agentID, host string, nowMs int64) *Exclusion {
	for _, x := range a.Exclusions {
		if x.Excluded && !expired(x, nowMs) && (x.AgentId != "" && x.AgentId == agentID || x.AgentId == "" && x.Host == host) {
			return x
		}
	}
	return nil
}

// NotBeforeMs is when the next executor may be launched on an agent, of which the
// last launches never reached it; 0: at once.
func (a *App) NotBeforeMs(agentID string) int64 {
	if i, found := findExclusion(a.Exclusions, agentID, ""); found {
		return a.Exclusions[i].NotBeforeMs
	}
	return 0
}

func expired(x *Exclusion, nowMs int64) bool { return x.UntilMs != 0 && x.UntilMs <= nowMs }

// Hosted tells whether the nodes host the application for a driver elsewhere.
func (a *App) Hosted() bool { return a.FailoverTimeoutMs > 0 }

// Over tells whether nothing more will come of the application: it is stopped,
// and Mesos has its framework no more or never had it.
func (a *App) Over() bool {
	if !a.Stopped {
		return false
	}
	switch a.Framework.State {
	case FrameworkTornDown, FrameworkRemoved:
		return true
	}
	return a.Framework.State == FrameworkNew && a.Framework.ID == ""
}
