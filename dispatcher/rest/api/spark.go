package api

// The actions of Spark's submission protocol.
const (
	ActionCreate         = "CreateSubmissionRequest"
	ActionCreateResponse = "CreateSubmissionResponse"
	ActionKillResponse   = "KillSubmissionResponse"
	ActionStatusResponse = "SubmissionStatusResponse"
	ActionError          = "ErrorResponse"
)

// StatusUnknownProtocol is the HTTP status with which Spark answers a request
// for another version of the protocol.
const StatusUnknownProtocol = 468

// CreateRequest is Spark's CreateSubmissionRequest.
type CreateRequest struct {
	Action               string            `json:"action"`
	AppArgs              []string          `json:"appArgs"`
	AppResource          string            `json:"appResource"`
	ClientSparkVersion   string            `json:"clientSparkVersion"`
	EnvironmentVariables map[string]string `json:"environmentVariables"`
	MainClass            string            `json:"mainClass"`
	SparkProperties      map[string]string `json:"sparkProperties"`
}

// SubmissionResponse is any reply of Spark's protocol; which fields are set
// depends on Action.
type SubmissionResponse struct {
	Action             string   `json:"action"`
	DriverState        string   `json:"driverState,omitempty"`
	Message            string   `json:"message,omitempty"`
	ServerSparkVersion string   `json:"serverSparkVersion"`
	SubmissionID       string   `json:"submissionId,omitempty"`
	Success            bool     `json:"success"`
	UnknownFields      []string `json:"unknownFields,omitempty"`
	// Warnings about properties that are unknown or without effect. Spark's own
	// clients ignore this field.
	Warnings []string `json:"warnings,omitempty"`
}

// Outcome tells what became of a state-changing request that failed.
type Outcome string

// The outcomes of a failed request.
const (
	// OutcomeNotExecuted: surely nothing was changed; asking again is safe.
	OutcomeNotExecuted Outcome = "not_executed"
	// OutcomeUnknown: it may have been carried out, or may yet be. Asking again
	// is safe only with the same Idempotency-Key.
	OutcomeUnknown Outcome = "unknown"
)

// ErrorResponse is Spark's ErrorResponse; every failed request gets one, on the
// routes that Spark does not know as well.
type ErrorResponse struct {
	Action                 string  `json:"action"`
	HighestProtocolVersion string  `json:"highestProtocolVersion,omitempty"`
	Message                string  `json:"message"`
	Outcome                Outcome `json:"outcome,omitempty"`
	ServerSparkVersion     string  `json:"serverSparkVersion"`
}
