// Package zkmigrate takes over what Spark's own dispatcher keeps in ZooKeeper.
//
// That dispatcher (spark.deploy.recoveryMode=ZOOKEEPER) stores, below
// /spark_mesos_dispatcher, serialised Java objects:
//
//	scheduler/frameworkId   the id of its framework
//	driverQueue/<id>        a queued driver: its description
//	launchedDrivers/<id>    a launched driver: its description, task and agent
//	retryList/<id>          a supervised driver that waits for its next attempt
//
// [Read] fetches the tree and never writes to it. [MakePlan] decodes it, with
// package javaser, into the drivers to import; what cannot be understood is not
// dropped but listed, with its bytes. [Run] sends the plan to a cluster and
// reports what became of each driver. Drivers that finished are not in
// ZooKeeper: that dispatcher forgets them when it restarts.
//
// Only a new cluster takes drivers over. It holds back its own subscription to
// Mesos until the last driver is there, and then subscribes with the framework
// id of the old dispatcher: Mesos hands it the tasks that run, and no status of
// theirs has come too early.
package zkmigrate
