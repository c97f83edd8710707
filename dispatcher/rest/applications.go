package rest

import (
	"context"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Applications hosts applications in client mode. A node that does so gives one
// to the server in Config.Applications, which then serves /v1/apps. All methods
// may be called concurrently. dispatcher.Request.Key makes repeating a request
// harmless, as for drivers; its User is who was authenticated, or empty.
//
// Errors that the server tells apart: *AppInvalidError, dispatcher.ErrNotFound
// for an unknown application, *fsm.RefusedError, and those of the log, as for a
// Dispatcher. Of the refusals, fsm.CodeTerminated is that of an application that
// is stopped, and fsm.CodeNotFound in Kill that of an executor it never had.
type Applications interface {
	// Register registers an application, or finds it again (known), and returns
	// when that is committed; Mesos may not know it yet.
	Register(ctx context.Context, a api.Application, r dispatcher.Request) (status api.AppStatus, known bool, err error)
	Application(ctx context.Context, id string, c dispatcher.Consistency) (api.AppStatus, error)
	List(ctx context.Context, c dispatcher.Consistency) (api.AppList, error)
	Executors(ctx context.Context, id string, c dispatcher.Consistency) (api.AppExecutors, error)
	// SetTotals, Kill, Exclude, Admit and Stop return when what was asked for is
	// committed; from then on it is carried out, whatever node fails. Stopping
	// what is stopped is no error.
	SetTotals(ctx context.Context, id string, t api.AppTotals, r dispatcher.Request) error
	Kill(ctx context.Context, id string, executors []string, r dispatcher.Request) error
	Exclude(ctx context.Context, id string, e api.AppExclude, r dispatcher.Request) error
	Admit(ctx context.Context, id, host string, r dispatcher.Request) error
	Stop(ctx context.Context, id, reason string, r dispatcher.Request) error
	// Heard commits a sign of life of the application's driver. The server calls it
	// for heartbeats, for the writes above and for open streams of events, each
	// application at most a few times within its failover timeout.
	Heard(ctx context.Context, id string) error
	// Event is a change of the application as its stream shows it; false: it is
	// none of the application's. It must not wait.
	Event(id string, c *fsm.Change) (api.AppEvent, bool)
}

// TaskStatus is a status of Mesos as the interface shows it; nil stays nil.
func TaskStatus(st *fsm.Status) *api.TaskStatus { return taskStatus(st) }

// AppInvalidError says which field or property of a request cannot be used, and
// what is allowed.
type AppInvalidError struct{ Field, Reason string }

func (e *AppInvalidError) Error() string { return e.Field + ": " + e.Reason }
