package api

// ImportRequest takes over drivers of another dispatcher: POST /v1/admin/import.
// It may be repeated.
type ImportRequest struct {
	// FrameworkID is that of the other dispatcher. The first import fixes it.
	FrameworkID string `json:"frameworkId"`
	// DryRun changes nothing and tells what would become of each driver.
	DryRun bool `json:"dryRun,omitempty"`
	// Complete ends the import, unless a driver of this request was refused: from
	// then on the cluster subscribes to Mesos, launches, and takes over no more.
	Complete bool           `json:"complete,omitempty"`
	Drivers  []ImportDriver `json:"drivers,omitempty"`
}

// MaxImport is how many drivers one request may hold.
const MaxImport = 1000

// ImportDriver is one driver as the other dispatcher left it. Those that are
// queued are queued in the order in which they are imported.
type ImportDriver struct {
	ID          string           `json:"id"`
	SubmittedMs int64            `json:"submittedMs"` // Unix milliseconds
	Submission  ImportSubmission `json:"submission"`
	// Cores and MemoryMiB as the other dispatcher worked them out; they count for
	// a running driver whose submission is not valid here.
	Cores     float64 `json:"cores,omitempty"`
	MemoryMiB int64   `json:"memoryMiB,omitempty"`
	Supervise bool    `json:"supervise,omitempty"`
	State     string  `json:"state"` // QUEUED, RUNNING or RETRYING

	// Of the latest attempt.
	Attempt     uint32        `json:"attempt,omitempty"`
	TaskID      string        `json:"taskId,omitempty"`
	AgentID     string        `json:"agentId,omitempty"`
	FrameworkID string        `json:"frameworkId,omitempty"` // that the driver registers with
	LaunchedMs  int64         `json:"launchedMs,omitempty"`
	Retries     int32         `json:"retries,omitempty"` // failed attempts in a row
	WaitSeconds int32         `json:"waitSeconds,omitempty"`
	NotBeforeMs int64         `json:"notBeforeMs,omitempty"` // earliest next launch
	Last        *ImportStatus `json:"last,omitempty"`
}

// ImportSubmission is what was submitted.
type ImportSubmission struct {
	AppResource          string            `json:"appResource"`
	MainClass            string            `json:"mainClass"`
	AppArgs              []string          `json:"appArgs"`
	SparkProperties      map[string]string `json:"sparkProperties"`
	EnvironmentVariables map[string]string `json:"environmentVariables"`
	ClientSparkVersion   string            `json:"clientSparkVersion,omitempty"`
}

// ImportStatus is the last task status of an attempt, with the numbers of
// mesos.proto.
type ImportStatus struct {
	State      int32   `json:"state"`
	Message    string  `json:"message,omitempty"`
	Source     *int32  `json:"source,omitempty"`
	Reason     *int32  `json:"reason,omitempty"`
	AgentID    string  `json:"agentId,omitempty"`
	ExecutorID string  `json:"executorId,omitempty"`
	Timestamp  float64 `json:"timestamp,omitempty"` // seconds
	UUID       []byte  `json:"uuid,omitempty"`
}

// Outcomes of the import of one driver.
const (
	ImportImported = "imported" // or, in a dry run, would be
	ImportKnown    = "known"    // it was there already
	ImportRefused  = "refused"
)

// ImportOutcome is what became of one driver.
type ImportOutcome struct {
	ID       string   `json:"id"`
	Outcome  string   `json:"outcome"`
	Reason   string   `json:"reason,omitempty"` // of a refusal
	Warnings []string `json:"warnings,omitempty"`
}

// ImportResponse answers an ImportRequest, driver by driver in its order.
type ImportResponse struct {
	FrameworkID string          `json:"frameworkId"`
	Complete    bool            `json:"complete"`
	Drivers     []ImportOutcome `json:"drivers"`
}
