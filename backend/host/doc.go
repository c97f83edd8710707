// Package host runs the coarse-grained backends of many applications on the nodes
// of one replicated log, for drivers elsewhere: a driver registers its
// application, says how many executors it wants, and may lose its connection, or
// the node that it speaks to, without losing an executor.
//
//	h, err := host.New(host.Config{State: state, Log: store, Master: "mesos1:5050", User: "spark"})
//	go h.Run(ctx)
//	r, err := h.Register(ctx, host.Application{Name: "pi", DriverURL: url, SparkHome: "/opt/spark"}, host.Request{})
//	err = h.SetTotals(ctx, r.ID, backend.Totals{Executors: 4}, host.Request{})
//
// Each node has a Host. All of them take requests, which go into the log; the one
// whose node leads holds, for each application that is not over, a subscription to
// Mesos of its own, under the application's framework id. What an application is
// made of stands in the log, so that the next leader goes on with all of them.
// Applications share nothing but the log: one that Mesos refuses, or that asks for
// executors which no agent can hold, waits by itself.
//
// # Signs of life
//
// A driver that stays away longer than the failover timeout of its application is
// taken for dead: the leader stops the application, and its executors end. Only
// time in which a leader was there to hear the driver counts, by the leader's own
// clock: a new leader gives every driver the whole time again, so that no outage
// of the cluster ends an application, and clocks that differ or jump do no harm.
// A sign of life that was committed before the end wins over it.
//
// # Ids
//
// A driver that registers again with the same id and the same content gets the
// application that is there. Other content under an id is refused: the executors
// that run were made from the first, and cannot change their driver.
package host
