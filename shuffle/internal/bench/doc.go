// Command bench measures external shuffle services side by side: this one,
// Spark's own (MesosExternalShuffleService) and a bare server that does nothing
// but sendfile(2), which is the limit for large blocks. Each runs in a process
// of its own, all serve the same files, and the rounds alternate between them,
// so that a busy machine troubles all alike.
//
//	go run ./shuffle/internal/bench -spark ~/.cache/ha-dispatcher/spark-3.5.1/home
//
// It prints Markdown tables: throughput, latency and CPU by block size and
// number of connections, then memory and start time. Clients keep five requests
// in flight each and throw away what they read.
package main
