// Package rest is the HTTP face of one dispatcher node: Spark's submission
// protocol, and an API in JSON beside it.
//
// # Two protocols on one port
//
// Under /v1/submissions a spark-submit of any version finds the protocol that
// Spark's own dispatcher speaks, down to the spacing of its replies and its
// HTTP status 468. Where upstream answers with a page of HTML, a stack trace or
// not at all, this server answers with an ErrorResponse that names the field or
// property at fault; testdata/differences.txt lists each such case with its
// reason. Under /v1/drivers, /v1/apps, /v1/events and /v1/cluster is what
// Spark's protocol lacks: lists with filters, every attempt of a driver, a
// stream of changes that a reader can continue at another node.
// docs/openapi.yaml describes all of it and is tested against the handlers.
//
// # No state
//
// A Server keeps nothing of drivers. A request is read to its end, checked,
// counted against the limits, and handed to a Dispatcher, which any node can
// answer; a follower's goes to the leader by way of the log. So every node of a
// cluster takes every request.
//
// # Applications
//
// Where Config.Applications is set, /v1/apps is for applications in client mode:
// their drivers ask for executors here and hear of them by a stream of events of
// their own (docs/applications.md). The server passes their signs of life on to
// the log, which must not cost a commit each, and ends the streams of a node
// that is cut off, so that readers move to another one.
//
// # What a client may rely on
//
// A reply of success comes only after the submission is in the log of a
// majority. A failure says which kind it is: "outcome":"not_executed" is surely
// without effect; "outcome":"unknown" may have been carried out, and is safe to
// repeat with the same Idempotency-Key only. Reads are linearizable unless
// ?consistency=stale is given.
//
// # Strangers
//
// Whoever can submit can run commands on the cluster, so Config.Validate refuses
// to listen beyond loopback without a token file, a client CA or an explicit
// permission. All input is bounded: bodies, headers, nesting, connections,
// requests at once, and the time a client may take. No slot is held while a
// client is slow.
package rest
