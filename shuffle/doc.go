// Package shuffle is an external shuffle service for Apache Spark: one process
// per host that serves the shuffle files of executors which are gone, so that
// dynamic allocation can stop executors without losing their work. It speaks
// the protocol of Spark's own service on Mesos, for clients from 2.2 on.
//
// A [Service] listens ([New]), serves ([Service.Serve]) and remembers
// registrations in a small database, so that a restart in the middle of a job
// costs its clients a retry and nothing else. The parts:
//
//   - shuffle/wire: frames and messages, bytes to values and back
//   - shuffle/auth: SASL and AuthEngine handshakes, and encryption
//   - shuffle/blocks: files on disk: finding, caching, checking, deleting
//   - shuffle/registry: executors, drivers, heartbeats, expiry
//   - this package: connections, streams of blocks, cleaning, metrics
//
// One goroutine serves a connection. It reads a request, answers it, and reads
// the next; while an answer cannot be written nothing is read. Small blocks are
// gathered into one write, large ones go from file to socket inside the kernel.
// A stream of blocks belongs to the connection that opened it. What a client
// can make the service hold is bounded: per connection by limits, over all
// connections by a budget, and in time by deadlines.
package shuffle
