// Package client talks to a dispatcher cluster over HTTP: it submits, kills and
// looks at drivers, and follows the changes.
//
// A Client knows several servers and tries them in turn, so that a node that is
// down costs one connection attempt. What it repeats by itself is only what is
// safe to repeat: reads, requests that were never sent or that the server says
// it did not carry out, and those with an idempotency key (NewKey). Without a
// key, a submission whose answer got lost ends in ErrOutcomeUnknown, because a
// second one would be a second driver.
//
// Submit, Kill and Status speak Spark's protocol and work against Spark's own
// dispatcher too, which knows no idempotency keys and ignores them: give none
// there.
//
// Applications in client mode are registered with RegisterApp and followed with
// AppEvents; every change of one carries a key of its own, so that it is repeated
// safely and a late repetition does not undo a later change.
package client
