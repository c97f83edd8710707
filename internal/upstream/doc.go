// Package upstream runs Spark's own dispatcher as a fixture: the one that this
// project replaces, to take over what it leaves.
//
// The dispatcher is the unmodified class of Spark 3.5.1 (internal/sparkfixture),
// with its Java binding of Mesos. What the binding calls natively is built here,
// from source/, over the scheduler driver of libmesos 1.11.0, which the fixture
// of internal/realmesos carries. So it registers as in production: through
// libmesos and libprocess, not through the HTTP interface of schedulers. [Start]
// needs what these two fixtures need.
package upstream
