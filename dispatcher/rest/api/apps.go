package api

import "time"

// Application is an application in client mode, as its driver registers it: the
// nodes keep as many executors running for it as are wanted.
type Application struct {
	// ID names the application on the cluster: up to 200 bytes of letters, digits,
	// '.', '_' and '-', a letter or digit first. Empty: the cluster chooses one. Whoever registers the same
	// id with the same content again gets the application that is there, so that a
	// driver that lost its answer, or its process, goes on.
	ID   string `json:"id,omitempty"`
	Name string `json:"name"`
	// DriverURL is what executors dial, such as
	// spark://CoarseGrainedScheduler@host:port.
	DriverURL string `json:"driverUrl"`
	// SparkVersion, such as "3.5.1", chooses the form of the executor's command.
	SparkVersion string `json:"sparkVersion,omitempty"`
	// SparkHome on the agents. Not needed with spark.executor.uri, with
	// spark.mesos.executor.home or with a docker image that holds Spark.
	SparkHome string `json:"sparkHome,omitempty"`
	// User that executors run as; default the one of the nodes.
	User string `json:"user,omitempty"`
	// WebUIURL of the application, which Mesos' pages link to.
	WebUIURL string `json:"webUiUrl,omitempty"`
	// Properties are the spark.* ones of the application.
	Properties map[string]string `json:"properties"`
	// FailoverTimeoutMs is how long the application goes on while nobody speaks
	// for it; then it is torn down. 0: the cluster's default.
	FailoverTimeoutMs int64 `json:"failoverTimeoutMs,omitempty"`
}

// The states of an application.
const (
	AppStarting     = "STARTING" // Mesos does not know it yet
	AppRunning      = "RUNNING"
	AppDisconnected = "DISCONNECTED" // its executors go on
	AppStopping     = "STOPPING"     // its executors are being ended
	AppStopped      = "STOPPED"
	AppRemoved      = "REMOVED" // Mesos has removed its framework, and its executors; stop it
)

// Over tells whether nothing more will come of the application.
func (s *AppStatus) Over() bool {
	return s.State == AppStopped || s.State == AppRemoved && s.StoppedAt != nil
}

// AppStatus is how an application stands.
type AppStatus struct {
	ID            string     `json:"id"`
	ApplicationID string     `json:"applicationId,omitempty"` // Spark's, which is the framework id; empty: not known yet
	Name          string     `json:"name"`
	State         string     `json:"state"` // one of App…
	User          string     `json:"user,omitempty"`
	Reason        string     `json:"reason,omitempty"` // why it is stopped
	RegisteredAt  time.Time  `json:"registeredAt"`
	StoppedAt     *time.Time `json:"stoppedAt,omitempty"`
	HeardAt       time.Time  `json:"heardAt"` // the last sign of life of its driver
	// FailoverTimeoutMs counts from HeardAt.
	FailoverTimeoutMs int64          `json:"failoverTimeoutMs"`
	Totals            []ProfileTotal `json:"totals"`
	Hosts             []string       `json:"hosts,omitempty"` // preferred
	Live              int            `json:"live"`            // executors that are not over
	Running           int            `json:"running"`
	Draining          int            `json:"draining"`
	Cores             int64          `json:"cores"` // held by the live ones
	GPUs              int64          `json:"gpus"`
	Exclusions        []AppExclusion `json:"exclusions"`
	// Leader is the node that gets the executors. What follows is known to it
	// alone: ask it, at LeaderURL, where another node answers.
	Leader    string            `json:"leader,omitempty"`
	LeaderURL string            `json:"leaderUrl,omitempty"`
	HeldBack  map[string]uint64 `json:"heldBack,omitempty"` // declined offers by reason, since the leader leads
	Problem   string            `json:"problem,omitempty"`  // why nothing starts, where that is known
}

// ProfileTotal is how many executors of one resource profile are wanted. Zero
// amounts are those of the application, as those of profile 0 always are.
type ProfileTotal struct {
	Profile   uint32 `json:"profile"` // 0: the default one
	Total     int64  `json:"total"`
	Cores     int64  `json:"cores,omitempty"`
	MemoryMiB int64  `json:"memoryMiB,omitempty"` // of the heap
	GPUs      int64  `json:"gpus,omitempty"`
}

// AppTotals is PUT to .../totals: how many executors are wanted in all.
type AppTotals struct {
	Totals []ProfileTotal `json:"totals"`
	// Hosts that the tasks at hand prefer, with how many of them do.
	Hosts map[string]int `json:"hosts,omitempty"`
}

// AppKill is POSTed to .../kill.
type AppKill struct {
	Executors []string `json:"executors"` // ids
}

// AppExclusion keeps executors off a host (or, where failures led to it, an
// agent).
type AppExclusion struct {
	Host    string     `json:"host,omitempty"`
	AgentID string     `json:"agentId,omitempty"`
	Until   *time.Time `json:"until,omitempty"` // nil: for good
	Reason  string     `json:"reason,omitempty"`
}

// AppExclude is POSTed to .../exclude, and to .../admit to take it back.
type AppExclude struct {
	Host       string `json:"host"`
	DurationMs int64  `json:"durationMs,omitempty"` // 0: for good
	Reason     string `json:"reason,omitempty"`
}

// AppReceipt says that what was asked for is in the log of a majority: it is
// carried out, whatever node fails.
type AppReceipt struct {
	ID        string `json:"id"`
	Committed bool   `json:"committed"`
}

// AppList are the applications that are registered, in the order of their
// registration, and the latest that are over.
type AppList struct {
	Applications []AppStatus `json:"applications"`
}

// AppExecutor is one executor.
type AppExecutor struct {
	ID         string      `json:"id"` // Spark's executor id, which is the task id
	State      string      `json:"state"`
	Profile    uint32      `json:"profile"`
	AgentID    string      `json:"agentId,omitempty"`
	Host       string      `json:"host,omitempty"`
	Cores      int64       `json:"cores"`
	MemMiB     int64       `json:"memMiB"` // of the container
	GPUs       int64       `json:"gpus,omitempty"`
	LaunchedAt time.Time   `json:"launchedAt"`
	RunningAt  *time.Time  `json:"runningAt,omitempty"`
	EndedAt    *time.Time  `json:"endedAt,omitempty"`
	Reason     string      `json:"reason,omitempty"`
	Status     *TaskStatus `json:"status,omitempty"`
}

// AppExecutors are the executors of an application: those that live, and the
// latest that are over.
type AppExecutors struct {
	Executors []AppExecutor `json:"executors"`
	Change    uint64        `json:"change"` // the events of the application go on behind it
}

// AppEventSnapshot is the Event of those events of a stream that stand for no
// change but tell how things are: each executor, and then, as the end of these,
// the application.
const AppEventSnapshot = "snapshot"

// AppEvent is one event of an application's stream. Its number is the change that
// it stands for, the same on every node, and is the id of the server-sent event.
type AppEvent struct {
	Type     string       `json:"type"` // executor, app, reset
	Change   uint64       `json:"change"`
	At       time.Time    `json:"at,omitzero"`
	Event    string       `json:"event,omitempty"`
	From     string       `json:"from,omitempty"`
	To       string       `json:"to,omitempty"`
	Reason   string       `json:"reason,omitempty"`
	Executor *AppExecutor `json:"executor,omitempty"` // after the change
	App      *AppStatus   `json:"app,omitempty"`      // after the change
}
