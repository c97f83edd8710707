// Package netns makes small networks on this machine in which a host can be cut
// off without a word: no connection is reset, nothing is refused, packets are
// just gone. Killing and stopping processes cannot show that.
//
// A [Network] is a bridge with some hosts, each a network namespace with an
// address of its own. This machine has the first address of the network. It needs
// Linux, root and iproute2; [New] returns a fixture.UnavailableError without.
package netns
