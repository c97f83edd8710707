// Package examples holds small programs that import the library: coarse, a
// backend that survives the loss of any node, and machine, a replicated state
// machine of one's own. Its tests build them and run them as processes.
package examples
