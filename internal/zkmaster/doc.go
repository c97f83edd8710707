// Package zkmaster finds the leading Mesos master in ZooKeeper.
//
// Masters elect their leader by ephemeral sequential nodes below the path of a
// zk:// URL: json.info_0000000012 holds a MasterInfo in JSON, info_0000000011,
// of masters before 0.24, the same as a protobuf message. The lowest number
// leads. Other nodes, such as those of the replicated log, are not masters.
//
// [New] makes a [Detector], which mesosutil.DriverConfig takes as its Detector.
package zkmaster
