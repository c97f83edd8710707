// Package launch turns a driver's submission into the Mesos task that runs it.
//
// Describe checks everything about a submission that could make a launch fail
// later and returns a Description: plain data, fit to be stored. What cannot be
// launched is refused there, with an *InvalidError that names the property, the
// value and the reason; Spark accepts such submissions and loses them, or its
// whole dispatcher, when an offer comes. Requirements says what the driver
// needs of an offer, and Carve takes it. Task builds the TaskInfo for a place
// that was chosen. Nothing here does I/O, reads the clock or keeps state: equal
// arguments give equal results on every node.
//
// # The command
//
//	<executable> <options> <application file> <arguments>
//
// runs in the agent's shell. The first form that applies is used:
//
//	docker image   ./bin/spark-submit                     files in $MESOS_SANDBOX
//	executor URI   cd <base>*; <prefix> bin/spark-submit  files in ..
//	Spark home     <home>/./bin/spark-submit              files in .
//	none of these  spark-submit, from the agent's PATH    files in .
//
// Options stand in a fixed order: name, master, cores, memory, class, executor
// memory, total executor cores, Python files, then every property as --conf,
// sorted by key. The dispatcher's `spark.mesos.dispatcher.driverDefault.*` are
// laid under the submission's properties.
//
// # Differences from Spark 3.5.1
//
// The bytes of the task are Spark's, except for these:
//
//	what                        Spark 3.5.1                      here
//	--driver-memory             heap + overhead                  heap
//	task's mem                  heap + overhead twice            heap + overhead (once)
//	  example: heap 1 GiB       --driver-memory 1408M, mem 1792  1024M, 1408
//	--driver-cores              1.0: spark-submit 3.2+ refuses   1; left out for fractions
//	--master                    doubled scheme possible          one mesos://
//	application file            never escaped                    escaped, $MESOS_SANDBOX still expands
//	Spark home, local: file     never escaped                    escaped, variables and ~/ still expand
//	--py-files in an image      $MESOS_SANDBOX escaped: lost     expands
//	empty argument              lost                             written ""
//	words that break out of     run as commands                  quoted (mesosutil.ShellEscape)
//	  their quotes, newlines …
//	library path prefix         $(…) and quotes pass             quoted
//	package base name           never escaped                    escaped
//	environment                 order of a hash map              driverEnv.* sorted, then the rest sorted
//	spark.driver.memoryOverhead plain number, else HTTP 500      number of MiB, or with a unit
//	secret properties           in the command line              in a file (below)
//	no Spark home, URI, image   not launched                     the agent's own spark-submit
//	kill policy                 none                             spark.mesos.dispatcher.driver.killGracePeriod
//	gpus, ports                 none                             spark.mesos.dispatcher.driver.{gpus,ports}
//	our own keys                –                                not handed to the driver
//
// Refused here, accepted there: cores that are not positive, less than one MiB
// of heap, malformed constraints, labels, secrets, volumes, port maps,
// parameters and `spark.mesos.*` values, unknown queues, a command that the
// kernel would not start (MaxCommandLength).
//
// # Secrets
//
// Spark writes every property as --conf into the command line, which each user
// of an agent can read with ps. Here, properties whose key or value matches the
// redaction pattern (`spark.redaction.regex` of the dispatcher, Spark's default
// pattern if unset) travel in the environment variable
// SPARK_DISPATCHER_PROPERTIES. The command writes them, behind the agent's own
// spark-defaults.conf, into a file of mode 0600 in the sandbox and hands that
// to spark-submit with --properties-file. Limits of this: who may read the
// sandbox through Mesos, or runs as the driver's user, still sees them; blanks
// at the ends of such values are lost, as always in properties files; and the
// driver may print them. `spark.mesos.dispatcher.driver.hideSecrets=false`
// gives Spark's way. Application arguments, the value of
// `spark.mesos.dispatcher.command` and what else is in the environment are left
// as they are.
package launch
