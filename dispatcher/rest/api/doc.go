// Package api holds the JSON messages that the REST server and its clients
// exchange: Spark's submission protocol and the API under /v1/drivers,
// /v1/events and /v1/cluster. It is plain data and imports nothing of ours, so
// that a client does not drag the server along.
//
// Times are RFC 3339 in UTC with milliseconds. Fields are only ever added.
package api
