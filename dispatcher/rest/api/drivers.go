package api

import "time"

// Summary is a driver as a list shows it.
type Summary struct {
	ID          string     `json:"id"`
	State       string     `json:"state"`      // QUEUED, LAUNCHING, RUNNING, KILLING, RETRYING, FINISHED, FAILED, KILLED, LOST, ERROR
	SparkState  string     `json:"sparkState"` // QUEUED, RUNNING, RETRYING, FINISHED
	Name        string     `json:"name"`
	MainClass   string     `json:"mainClass,omitempty"`
	Queue       string     `json:"queue,omitempty"`
	Priority    float64    `json:"priority"`
	Cores       float64    `json:"cores"`
	MemMiB      int64      `json:"memMiB"`
	Supervise   bool       `json:"supervise"`
	User        string     `json:"user,omitempty"`
	SubmittedAt time.Time  `json:"submittedAt"`
	ChangedAt   time.Time  `json:"changedAt"`
	FinishedAt  *time.Time `json:"finishedAt,omitempty"`
	// Attempts made so far, the forgotten ones included.
	AttemptCount int        `json:"attemptCount"`
	Retries      int        `json:"retries"` // failed attempts in a row
	NextRetryAt  *time.Time `json:"nextRetryAt,omitempty"`
	AgentID      string     `json:"agentId,omitempty"` // of the latest attempt
	AgentHost    string     `json:"agentHost,omitempty"`
	TaskID       string     `json:"taskId,omitempty"`
	TaskState    string     `json:"taskState,omitempty"` // of the last status
	Reason       string     `json:"reason,omitempty"`
}

// Driver is everything known about one driver. Values of properties and
// environment variables that look like secrets are redacted.
type Driver struct {
	Summary
	AppResource       string            `json:"appResource,omitempty"`
	AppArgs           []string          `json:"appArgs"`
	Properties        map[string]string `json:"properties"`
	Environment       map[string]string `json:"environment"`
	MaxRetries        int               `json:"maxRetries"`  // 0: as the cluster's policy says
	WaitSeconds       int               `json:"waitSeconds"` // the back-off that Retries led to
	Attempts          []Attempt         `json:"attempts"`    // oldest first
	AttemptsForgotten int               `json:"attemptsForgotten,omitempty"`
	LastStatus        *TaskStatus       `json:"lastStatus,omitempty"`
}

// Attempt is one task of a driver.
type Attempt struct {
	Number      int         `json:"number"` // 0 for the first
	TaskID      string      `json:"taskId"`
	AgentID     string      `json:"agentId,omitempty"`
	AgentHost   string      `json:"agentHost,omitempty"`
	FrameworkID string      `json:"frameworkId,omitempty"` // that the driver itself registers with
	LaunchedAt  *time.Time  `json:"launchedAt,omitempty"`  // the intent was committed
	StartedAt   *time.Time  `json:"startedAt,omitempty"`   // first status
	EndedAt     *time.Time  `json:"endedAt,omitempty"`     // terminal status
	Dropped     bool        `json:"dropped,omitempty"`     // it never reached an agent
	Status      *TaskStatus `json:"status,omitempty"`      // the last one
}

// TaskStatus is a Mesos task status.
type TaskStatus struct {
	State   string     `json:"state"`
	Message string     `json:"message,omitempty"`
	Source  string     `json:"source,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	AgentID string     `json:"agentId,omitempty"`
	At      *time.Time `json:"at,omitempty"`
	Healthy *bool      `json:"healthy,omitempty"`
}

// DriverList is one page of drivers, the latest first.
type DriverList struct {
	Drivers []Summary `json:"drivers"`
	// NextCursor continues the list; empty: this was the last page. A page may
	// be short, even empty, and still have a successor.
	NextCursor string `json:"nextCursor,omitempty"`
	// Index of the log entry that the page shows the state at.
	Index uint64 `json:"index"`
	// Change is the number of the last change in the page; /v1/events?since=
	// goes on from there without a gap.
	Change uint64 `json:"change"`
	Counts Counts `json:"counts"` // of all drivers, whatever the filter
}

// Counts of drivers by the part they stand in.
type Counts struct {
	Waiting  int `json:"waiting"`
	Active   int `json:"active"`
	Retrying int `json:"retrying"`
	Finished int `json:"finished"`
}

// The types of an event.
const (
	EventDriver    = "driver"
	EventFramework = "framework"
	EventPolicy    = "policy"
	EventNode      = "node"
	EventApp       = "app"      // an application of the backends
	EventExecutor  = "executor" // one of its executors
	// EventReset says that changes were missed: read the lists again. The
	// stream goes on behind the change that it carries.
	EventReset = "reset"
)

// Event is one change of the replicated state. Numbers are the same on every
// node.
type Event struct {
	Type   string    `json:"type"`
	Change uint64    `json:"change"`
	Index  uint64    `json:"index,omitempty"`
	At     time.Time `json:"at,omitzero"`
	ID     string    `json:"id,omitempty"` // of the driver or the node; the framework id
	Event  string    `json:"event,omitempty"`
	From   string    `json:"from,omitempty"`
	To     string    `json:"to,omitempty"`
	TaskID string    `json:"taskId,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Driver *Summary  `json:"driver,omitempty"` // after the change
}

// Cluster is the cluster as the node that answers sees it.
type Cluster struct {
	Leader       string        `json:"leader"` // id; empty: none known
	Term         uint64        `json:"term"`
	CommitIndex  uint64        `json:"commitIndex"`
	AppliedIndex uint64        `json:"appliedIndex"`
	Nodes        []ClusterNode `json:"nodes"`
	Framework    Framework     `json:"framework"`
}

// Framework is the cluster's registration with Mesos.
type Framework struct {
	ID     string `json:"id,omitempty"`
	State  string `json:"state"` // NEW, SUBSCRIBED, DISCONNECTED, TORN_DOWN, REMOVED
	Master string `json:"master,omitempty"`
}

// ClusterNode is one member.
type ClusterNode struct {
	ID      string `json:"id"`
	Raft    string `json:"raft"`
	REST    string `json:"rest"`
	WebUI   string `json:"webui,omitempty"`
	Version string `json:"version,omitempty"`
	Voter   bool   `json:"voter"`
	Healthy bool   `json:"healthy"`
	// LastContact is when the answering node last heard of this one; left out:
	// never.
	LastContact time.Time `json:"lastContact,omitzero"`
	Problem     string    `json:"problem,omitempty"` // what is wrong with the node
}

// ClusterChange is what an operator asks of the cluster; which fields count
// depends on the route.
type ClusterChange struct {
	ID       string `json:"id,omitempty"`       // join, remove
	Raft     string `json:"raft,omitempty"`     // join: host:port of the node for the others
	NonVoter bool   `json:"nonVoter,omitempty"` // join: it gets the log and has no vote
	To       string `json:"to,omitempty"`       // transfer; empty: whoever is best placed
}
