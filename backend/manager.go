package backend

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// TaskScheduler is what hands the tasks of an application to its executors, and
// is told what becomes of these. The backend calls it from one goroutine.
type TaskScheduler interface {
	// Initialize binds the scheduler to a backend.
	Initialize(SchedulerBackend)
	// ExecutorLost tells that an executor is over.
	ExecutorLost(executorID, reason string)
	// Error ends the application: it cannot go on.
	Error(message string)
}

// SchedulerBackend gets executors for an application. *Coarse and *Fine are.
type SchedulerBackend interface {
	// Start returns when the application is registered with Mesos.
	Start(ctx context.Context) error
	// Stop ends the application and its executors.
	Stop(ctx context.Context) error
	ApplicationID() string
	SufficientResourcesRegistered() bool
}

// ClusterManager makes the parts of an application for the master URLs that it
// knows; Spark's ExternalClusterManager.
type ClusterManager interface {
	CanCreate(masterURL string) bool
	CreateTaskScheduler(sc Context, masterURL string) (TaskScheduler, error)
	CreateSchedulerBackend(sc Context, masterURL string, ts TaskScheduler) (SchedulerBackend, error)
	Initialize(ts TaskScheduler, b SchedulerBackend) error
}

// Managers is a set of cluster managers. The zero value is empty and ready; it is
// safe for concurrent use.
type Managers struct {
	mu   sync.Mutex
	list []ClusterManager
}

// Register adds a manager.
func (m *Managers) Register(cm ClusterManager) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, cm)
}

// For finds the one manager for a master URL. Errors: ErrNoManager and
// ErrManyManagers.
func (m *Managers) For(masterURL string) (ClusterManager, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []ClusterManager
	for _, cm := range m.list {
		if cm.CanCreate(masterURL) {
			found = append(found, cm)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w: %q", ErrNoManager, masterURL)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%w: %q", ErrManyManagers, masterURL)
}

// MesosManager is the ClusterManager for Mesos.
type MesosManager struct {
	// Config is the configuration of the backends of either mode. Context, Master
	// and Scheduler are filled in for each of them. With more than one application
	// on a log, NewAppID has to tell them apart.
	Config Config
	// NewAppID names an application in the log, the same on every node. Default:
	// its name.
	NewAppID func(sc Context) string
	// NewTaskScheduler makes a task scheduler; default one that does nothing, which
	// fine-grained mode cannot use.
	NewTaskScheduler func(sc Context) (TaskScheduler, error)

	mu   sync.Mutex
	used int // applications with a framework id of their own
}

var _ ClusterManager = (*MesosManager)(nil)

// CanCreate follows Spark: any URL that starts with these five letters.
func (*MesosManager) CanCreate(masterURL string) bool { return strings.HasPrefix(masterURL, "mesos") }

// CreateTaskScheduler makes the task scheduler, whatever the URL.
func (m *MesosManager) CreateTaskScheduler(sc Context, _ string) (TaskScheduler, error) {
	if m.NewTaskScheduler == nil {
		return noScheduler{}, nil
	}
	return m.NewTaskScheduler(sc)
}

var masterInURL = regexp.MustCompile(`mesos://(.*)`)

// CreateSchedulerBackend makes a coarse-grained backend, or with
// spark.mesos.coarse=false a fine-grained one. Nothing is sent before its Start.
//
// Errors: ErrIOEncryption, ErrNoMasterInURL, ErrNoFineScheduler, and *InvalidError
// for properties that cannot be used.
func (m *MesosManager) CreateSchedulerBackend(sc Context, masterURL string, ts TaskScheduler) (SchedulerBackend, error) {
	conf := sparkconf.New(sc.Conf)
	encrypted, err := conf.Bool("spark.io.encryption.enabled", false)
	coarse, err2 := conf.Bool("spark.mesos.coarse", true)
	if err := errors.Join(invalid(err, ""), invalid(err2, "")); err != nil {
		return nil, err
	}
	if encrypted {
		return nil, ErrIOEncryption
	}
	match := masterInURL.FindStringSubmatch(masterURL)
	if match == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoMasterInURL, masterURL)
	}
	sc.Conf = m.ownFrameworkID(conf).Map()
	cfg := m.Config
	cfg.Context, cfg.Master, cfg.Scheduler = sc, match[1], ts
	if m.NewAppID != nil {
		cfg.AppID = m.NewAppID(sc)
	}
	if !coarse {
		return NewFine(cfg)
	}
	return New(cfg)
}

// ownFrameworkID keeps two applications of one process apart that were given the
// same framework id: the first one uses it as it is, the later ones with a number
// behind it.
func (m *MesosManager) ownFrameworkID(conf sparkconf.Conf) sparkconf.Conf {
	id, set := conf.Lookup(mesosutil.FrameworkIDKey)
	if !set {
		return conf
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.used
	m.used++
	if n == 0 {
		return conf
	}
	number := strconv.Itoa(n)
	number = strings.Repeat("0", max(0, 4-len(number))) + number
	return conf.With(map[string]string{mesosutil.FrameworkIDKey: id + "-" + number})
}

// Initialize binds the two to each other.
func (*MesosManager) Initialize(ts TaskScheduler, b SchedulerBackend) error {
	if ts == nil || b == nil {
		return &InvalidError{Key: "Initialize", Reason: "a task scheduler and a backend are needed"}
	}
	ts.Initialize(b)
	return nil
}

type noScheduler struct{}

func (noScheduler) Initialize(SchedulerBackend) {}
func (noScheduler) ExecutorLost(_, _ string)    {}
func (noScheduler) Error(string)                {}
