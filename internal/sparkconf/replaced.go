package sparkconf

import "strings"

// Replacement tells what has come in the place of a property, of any prefix,
// that has no effect or not its old one.
type Replacement struct {
	// Key is the whole key, or, when it ends with a dot, the prefix of a family.
	Key     string
	Readers Readers // where it is warned of
	Instead string  // what to do, in words
}

// Replacements returns every property that FindReplacement knows. The slice is
// the caller's.
func Replacements() []Replacement { return append([]Replacement(nil), replacedTable...) }

// FindReplacement returns what has replaced a property, if anything has.
func FindReplacement(name string) (Replacement, bool) {
	for _, r := range replacedTable {
		if name == r.Key || strings.HasSuffix(r.Key, ".") && strings.HasPrefix(name, r.Key) {
			return r, true
		}
	}
	return Replacement{}, false
}

const drivers = Submission | Application

// replacedTable holds the keys that were renamed between Spark 2.2 and 3.5,
// those that are often misspelt because documentation did, and those of
// upstream's dispatcher that mean nothing to this one.
var replacedTable = []Replacement{
	{"spark.acls.enable", WebUI,
		"the pages know no users of Spark's; --auth-reads and --allow-from say who may see them"},
	{"spark.deploy.recoveryMode", Dispatcher,
		"the nodes replicate their state themselves, always; take it out"},
	{"spark.deploy.zookeeper.", Dispatcher,
		"the nodes replicate their state themselves; take it out. 'ha-dispatcher migrate --from-zookeeper' takes over what an existing dispatcher keeps in ZooKeeper"},
	{"spark.executor.port", drivers,
		"Spark dropped it after 2.2; spark.blockManager.port is the port that remains"},
	{"spark.mesos.dispatcher.driverProperty.", Dispatcher,
		"Spark's documentation misspells it: spark.mesos.dispatcher.driverDefault. is the prefix that works"},
	{"spark.networy.crypto.keyFactoryIterations", drivers,
		"it is spelt spark.network.crypto.keyFactoryIterations"},
	{"spark.port.maxRetries", Dispatcher,
		"a port in use is an error here, so that a node is found where its peers and clients look for it"},
	{"spark.shuffle.service.index.cache.entries", drivers,
		"it is spark.shuffle.service.index.cache.size, in bytes, since Spark 2.3"},
	{"spark.ssl.mesos.", WebUI,
		"Java key stores are not read; give PEM files to --webui-cert and --webui-key"},
	{"spark.storage.blockManagerSlaveTimeoutMs", drivers,
		"it is spark.storage.blockManagerHeartbeatTimeoutMs since Spark 3.0"},
	{"spark.ui.filters", WebUI,
		"servlet filters are Java classes; put a proxy in front of the pages, or use --auth-reads or --allow-from"},
	{"spark.yarn.driver.memoryOverhead", drivers,
		"it is spark.driver.memoryOverhead since Spark 2.3"},
	{"spark.yarn.executor.memoryOverhead", drivers,
		"it is spark.mesos.executor.memoryOverhead on Mesos"},
}
