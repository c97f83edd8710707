// Package e2e tests the program as its users meet it: built once (with the race
// detector if the tests have it), run as processes, killed with -9, stopped,
// cut off, driven over HTTP and by the real spark-submit, on the embedded Mesos
// and on a real one. It has no code but tests.
//
// Every driver of a story is a shell command that notes its task, its process and
// the time in a journal file when it starts and when it ends. What the journal
// says is held against what the clients were told and what the nodes say:
// nothing acknowledged may be missing, nothing may have run twice, nothing that
// was refused may have run at all.
package e2e
