// Package sparkconf reads Spark properties: the text forms of memory sizes,
// durations, lists and numbers, files in java.util.Properties syntax, and the
// table of every `spark.mesos.*` property this project knows.
//
// A Conf is an immutable set of properties with typed getters. A getter that
// finds a value it cannot read returns a *ValueError with the key, the value
// and what is allowed, instead of guessing; a key that is not set gives the
// default the caller names. Where the properties come from, and which source
// wins, is not decided here.
//
// The table (Keys) is the one place that says which keys exist, of what type
// they are, who reads them and what they mean. Check holds a Conf against it,
// and the reference documentation is generated from it.
//
// Values whose key looks like a secret (Redact) never appear in an error text
// of this package.
//
// All functions are pure, except that ParseProperties reads from its reader,
// and safe for concurrent use.
package sparkconf
