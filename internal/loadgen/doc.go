// Package loadgen loads a server that speaks Spark's REST submission protocol
// and tells how fast it answered and what it lost: ha-dispatcher's own nodes, and
// Spark's dispatcher beside them. `ha-dispatcher bench` and the benchmarks of this
// repository stand on it.
//
// A run is bounded, by a number of requests or a time. Without a rate each client
// sends its next request when the last is answered, so the rate is what the server
// can take; with one, requests fall due at random (Poisson) times whatever the
// server does, and the latency counts from the time at which a request was due, so
// that a server which stalls does not hide those it kept waiting.
//
// An acknowledgement is worth nothing if the driver is not there afterwards:
// [Verify] asks for every acknowledged id again and counts as lost what the server
// answers NOT_FOUND.
//
// Clients write requests to their connections themselves, because net/http's
// transport costs as much as a fast server does when both share the cores.
package loadgen
