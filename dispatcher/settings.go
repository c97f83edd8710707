package dispatcher

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// Keys that decide how drivers are kept and retried. Those that end in a comment
// "ours" are extensions.
const (
	keyMaxDrivers     = "spark.mesos.maxDrivers"
	keyCountLaunched  = "spark.mesos.dispatcher.maxDrivers.countLaunched" // ours
	keyRetained       = "spark.mesos.retainedDrivers"
	keyRetryWaitMax   = "spark.mesos.cluster.retry.wait.max"
	keyMaxRetries     = "spark.mesos.dispatcher.supervise.maxRetries" // ours
	keyResetAfter     = "spark.mesos.dispatcher.supervise.resetAfter" // ours
	keyRetryOn        = "spark.mesos.dispatcher.supervise.retryOn"    // ours
	keyUnreachable    = "spark.mesos.dispatcher.unreachable"          // ours
	keyRequestsKept   = "spark.mesos.dispatcher.requestsKept"         // ours
	keyRejectOffer    = "spark.mesos.rejectOfferDuration"
	keyReconcileEvery = "spark.mesos.dispatcher.reconcileInterval" // ours
	keyHoldAfter      = "spark.mesos.dispatcher.holdAfter"         // ours
	keyHoldFor        = "spark.mesos.dispatcher.holdFor"           // ours
)

// keyAwaitMigration is ours.
const keyAwaitMigration = "spark.mesos.dispatcher.awaitMigration"

// PolicyOf reads the replicated part of the configuration. The error joins one
// *sparkconf.ValueError for each wrong value.
func PolicyOf(conf sparkconf.Conf) (*fsm.Policy, error) {
	r := settings{conf: conf}
	p := fsm.DefaultPolicy()
	p.MaxDrivers = int32(r.integer(keyMaxDrivers, int64(p.MaxDrivers), 1, 10_000_000))
	p.RetainedDrivers = int32(r.integer(keyRetained, int64(p.RetainedDrivers), 0, 10_000_000))
	p.RetryWaitMaxS = int32(r.integer(keyRetryWaitMax, int64(p.RetryWaitMaxS), 1, 86_400))
	p.MaxRetries = int32(r.integer(keyMaxRetries, 0, 0, 1_000_000))
	p.DedupWindow = int32(r.integer(keyRequestsKept, int64(p.DedupWindow), 1, 10_000_000))
	p.MaxDriversCountsLaunched = r.boolean(keyCountLaunched, false)
	p.BackoffResetMs = r.duration(keyResetAfter, 0).Milliseconds()
	p.RetryOn = r.states(keyRetryOn)
	p.WaitForUnreachable = r.choice(keyUnreachable, "relaunch", "wait") == "wait"
	return p, errors.Join(r.errs...)
}

// ConfigOf reads the settings of the dispatcher from a configuration. Launch,
// NewMesos and the rest that is no property are the caller's to add.
func ConfigOf(conf sparkconf.Conf) (Config, error) {
	policy, err := PolicyOf(conf)
	r := settings{conf: conf}
	c := Config{
		Policy:         policy,
		RejectOffer:    r.duration(keyRejectOffer, 120*time.Second),
		ReconcileEvery: r.duration(keyReconcileEvery, 15*time.Minute),
		HoldAfter:      r.duration(keyHoldAfter, 30*time.Second),
		HoldFor:        r.duration(keyHoldFor, time.Minute),
		AwaitImport:    r.boolean(keyAwaitMigration, false),
	}
	if c.HoldAfter == 0 {
		c.HoldAfter = -1 // never
	}
	return c, errors.Join(append(r.errs, err)...)
}

// settings reads values and collects what is wrong with them.
type settings struct {
	conf sparkconf.Conf
	errs []error
}

func (r *settings) integer(key string, def, least, most int64) int64 {
	v, err := r.conf.Int(key, def)
	if err == nil && (v < least || v > most) {
		err = r.wrong(key, fmt.Sprintf("a whole number from %d to %d", least, most))
	}
	if err != nil {
		r.errs = append(r.errs, err)
	}
	return v
}

func (r *settings) boolean(key string, def bool) bool {
	v, err := r.conf.Bool(key, def)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	return v
}

func (r *settings) duration(key string, def time.Duration) time.Duration {
	v, err := r.conf.Time(key, time.Second, def)
	if err == nil && v < 0 {
		err = r.wrong(key, "a time such as 30s or 5m, not negative")
	}
	if err != nil {
		r.errs = append(r.errs, err)
	}
	return v
}

// choice is the value of key, which must be one of the options; the first one is
// the default.
func (r *settings) choice(key string, options ...string) string {
	v := r.conf.Text(key, options[0])
	for _, o := range options {
		if v == o {
			return v
		}
	}
	r.errs = append(r.errs, r.wrong(key, "one of "+strings.Join(options, ", ")))
	return options[0]
}

// states reads a list of task states, with or without TASK_, as bits.
func (r *settings) states(key string) uint32 {
	var bits uint32
	for _, name := range r.conf.List(key) {
		full := strings.ToUpper(name)
		if !strings.HasPrefix(full, "TASK_") {
			full = "TASK_" + full
		}
		n, known := mesos.TaskState_value[full]
		if !known || !failure(mesos.TaskState(n)) {
			r.errs = append(r.errs, r.wrong(key, "a list of task states that are failures: "+strings.Join(taskStates(), ", ")))
			return 0
		}
		bits |= 1 << uint(n)
	}
	return bits
}

func taskStates() []string {
	var names []string
	for name, n := range mesos.TaskState_value {
		if failure(mesos.TaskState(n)) {
			names = append(names, strings.TrimPrefix(name, "TASK_"))
		}
	}
	sort.Strings(names)
	return names
}

// failure tells whether a task state ends a task without success. Apply refuses
// a policy with any other state, and a policy that is refused keeps every node
// from leading.
func failure(s mesos.TaskState) bool {
	switch s {
	case mesos.TASK_STAGING, mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_KILLING, mesos.TASK_FINISHED:
		return false
	}
	return true
}

func (r *settings) wrong(key, allowed string) error {
	v, _ := r.conf.Lookup(key)
	return &sparkconf.ValueError{Key: key, Value: v, Allowed: allowed}
}

// keyDriverRetries is the limit of one submission (SPARK-24075 asked for it).
const keyDriverRetries = "spark.mesos.driver.supervise.maxRetries" // ours

// maxRetries of a submission; 0: the policy's.
func maxRetries(d *launch.Description) (int32, error) {
	text := d.Property(keyDriverRetries)
	if text == "" {
		return 0, nil
	}
	n, ok := sparkconf.ParseInt(text)
	if !ok || n < 0 || n > 1_000_000 {
		return 0, &launch.InvalidError{Key: keyDriverRetries, Value: text, Reason: "a whole number from 0 to 1000000 is wanted"}
	}
	return int32(n), nil
}
