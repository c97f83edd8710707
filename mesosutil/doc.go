// Package mesosutil is Mesos for schedulers: a driver of the v1 scheduler API,
// and the pure parts that a scheduler on Mesos needs beside it (resources,
// constraints, ports, volumes, labels, secrets, containers, command lines).
//
// # The driver
//
// A Driver subscribes to the leading master, reports what that sends as one
// ordered stream of Events, and offers Mesos' calls as typed methods:
//
//	driver, err := mesosutil.NewDriver(mesosutil.DriverConfig{Master: "mesos://m1:5050,m2:5050", Framework: info})
//	go func() { done <- driver.Run(ctx) }()
//	for event := range driver.Events() { … }
//	err = <-done
//
// It is made for a scheduler that runs on several nodes of which one leads.
// What it promises is what such a scheduler cannot do without:
//
// The fence. Mesos has one scheduler per framework: a SUBSCRIBE with the id of
// a framework ends the stream that was there before. So a new leader that
// subscribes with the committed id cuts the old one off, even one that does
// not yet know that it is deposed: each call carries the Mesos-Stream-Id of
// the subscription that was current when it was made, and the master refuses
// it after a later one. Offers are fenced more tightly still: the driver knows
// which offers the current subscription holds and answers a call on any other
// with ErrStaleOffer, without sending it.
//
// The gate. The fence turns on whoever subscribes last, so the loser must not
// subscribe again. "Framework failed over" ends Run with ErrFailedOver instead
// of being retried, and Gate is asked before every SUBSCRIBE (a deposed leader
// whose stream merely broke fails there) and again once the master has
// answered (a SUBSCRIBE can lie in a queue while leadership moves). A node
// that gets ErrFailedOver though it still leads, as when such a late SUBSCRIBE
// overtook its own, makes a new Driver: the other one's gate has failed by
// then, so the two do not take turns.
//
// Explicit acknowledgement. Mesos repeats a status update until it is
// acknowledged, and forgets it then. The driver never acknowledges by itself:
// commit the status, then call Acknowledge. A crash in between costs a
// repetition; the other order loses the update.
//
// One id. The driver learns the framework's id from the first SUBSCRIBED and
// keeps it for good. When Mesos has removed the framework Run ends with
// ErrFrameworkRemoved; taking a new id would orphan what still runs, and is
// for an operator to decide.
//
// Silence is an end. Mesos sends heartbeats; after DriverConfig.HeartbeatMisses
// intervals with no word the stream is dropped and the driver subscribes anew.
// The time in which the driver waits for the reader of Events does not count.
//
// # The executor's side
//
// An ExecutorDriver is the counterpart at an agent: it hands an executor its
// tasks and kills as ExecutorEvents, keeps each status until the agent has
// acknowledged it, and, where the framework checkpoints, subscribes again with
// what is left when the agent has been restarted. Package backend/executor
// builds executors on it.
//
// # Built over mesos-go, in parts
//
// Messages, call builders and codecs are mesos-go's. Its scheduler client
// (httpsched, controller) is not used: it holds one mutex over SUBSCRIBE and
// all its redirects, leaves the framework id out of SUBSCRIBE when the
// failover timeout is zero, watches no heartbeats, backs off without jitter,
// resubscribes after "Framework failed over", and binds a call to whatever
// stream is there when it is sent. Its RecordIO reader ends at 4 MiB and
// panics on a length of 2⁶³. What replaces them is small and in this package.
//
// HTTP proxies from the environment are not used; masters are near.
package mesosutil
