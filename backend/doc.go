// Package backend is Spark's client mode on Mesos, for import: it gets executors
// for an application and keeps as many of them running as are wanted (Coarse), or
// runs its tasks one by one on what Mesos offers (Fine), and it goes on when the
// process that does so dies.
//
// In Spark the scheduler backend lives in the driver, and the executors die with
// it. Here what is wanted and what runs is replicated state:
//
//	state := fsm.New()
//	store, err := raftstore.Open(ctx, cfg, backend.Machine{State: state})
//	app, err := backend.New(backend.Config{State: state, Log: store, Master: "mesos1:5050", Context: sc})
//	err = app.Start(ctx)
//	err = app.RequestTotalExecutors(ctx, backend.Totals{Executors: 4})
//
// Run that on three nodes. The one that leads subscribes to Mesos; when it dies
// another one subscribes with the same framework id, finds the executors in its
// log and at Mesos, and goes on scaling. Executors do not notice.
//
// # What holds
//
// A request that returned without an error is carried out, whatever node fails.
// Nothing is sent to Mesos before its intent is committed, and no status is
// acknowledged before it is. An executor id is never used twice.
//
// # What is Spark's
//
// The settings, the distribution of executors over offers (Decide, which is pure),
// the executor's command, container and labels, and what is said in the log follow
// Spark 3.5's MesosCoarseGrainedSchedulerBackend. Where its behaviour is a known
// defect this package differs: an excluded agent is admitted again after
// spark.excludeOnFailure.timeout (1 h); one failure counts once; launches that
// never reached an agent are not held against it; a raised total asks Mesos for
// offers at once; offers are suppressed when none are wanted; resource profiles
// count; the shuffle service is told until it has heard; the failover timeout is
// DefaultFailoverTimeout and not 0.
//
// Beside executors an application may have a Launcher, which is told its states in
// the words of Spark's launcher library, and delegation tokens, which a TokenSource
// obtains on the node that leads and which are renewed in time.
//
// # Fine-grained mode
//
// Fine is the other backend, chosen by spark.mesos.coarse=false: on each agent that
// it uses it has one Mesos executor (as id, that of the agent), and each task of the
// application's task scheduler, a FineScheduler, is a Mesos task on it, with the
// scheduler's number as its id.
//
//	app, err := backend.NewFine(backend.Config{State: state, Log: store, Master: m, Context: sc, Scheduler: ts})
//
// The scheduler of the node that leads is shown what Mesos offers and answers with
// tasks. Their intents are committed before they are sent, with their executors,
// but not their data: a task that was lost on the way is reported as lost, and the
// scheduler hands it out again under another id. A status is committed, then told
// to the scheduler, then acknowledged, so that a result comes again as long as
// nobody has had it. The scheduler of the next leader is first told what runs
// (Adopt); executors and tasks run on meanwhile. A scheduler that is to finish its
// work whatever node fails keeps its own account outside of the nodes, or
// in a state machine of its own on the log.
//
// It follows Spark's MesosFineGrainedSchedulerBackend, and differs where that loses
// work or stops: offers of one agent are taken together; an executor is added once;
// a task that fails does not count as the end of its executor, and an executor that
// ends not as the end of results on their way; ids that are no numbers, or not to be
// used, are refused; an executor of other settings is replaced. All members of the
// log have to know command set 2: set raftstore.Config.Version to
// fsm.CommandVersion.
//
// ClusterManager and Managers are Spark's way to choose a backend by master URL.
package backend
