// Package registrar is the driver's side of an external shuffle service on
// Mesos: it tells the service of an agent that an application is there, and keeps
// telling it. A service removes the files of an application whose heartbeats stay
// away, since on Mesos nobody else would tell it that the application is over.
//
// A Registrar is a backend.ShuffleRegistrar:
//
//	shuffles, err := registrar.FromProperties(sc.Conf)
//	app, err := backend.New(backend.Config{Shuffle: shuffles, …})
//
// It speaks to this project's service and to Spark's own, in the clear or
// authenticated, as the application's properties say.
//
// # Where it differs from Spark
//
// Spark registers once. When that fails, or the connection is lost later, its
// service deletes the application's files under the running executors, or keeps
// them for ever. Here a lost connection is noticed, and Register returns, so that
// its caller registers anew; the first heartbeat follows the registration at once.
package registrar
