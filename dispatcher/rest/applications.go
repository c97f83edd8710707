package rest

import (
	"context"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Applications hosts applications in client mode. A node that does so gives one
// to the server, which then serves /v1/apps. All methods may be called
// concurrently; user is who was authenticated, or empty.
//
// Errors that the server tells apart: *AppInvalidError, dispatcher.ErrNotFound,
// *fsm.RefusedError, and those of the log, as for a Dispatcher.
type Applications interface {
	// Register registers an application, or finds it again, and returns when that
	// is committed; Mesos may not know it yet.
	Register(ctx context.Context, user string, a api.Application, r dispatcher.Request) (api.AppStatus, error)
	Application(ctx context.Context, id string, c dispatcher.Consistency) (api.AppStatus, error)
	List(ctx context.Context, c dispatcher.Consistency) (api.AppList, error)
	Executors(ctx context.Context, id string, c dispatcher.Consistency) (api.AppExecutors, error)
	// SetTotals, Kill, Exclude, Admit and Stop return when what was asked for is
	// committed; from then on it is carried out, whatever node fails.
	SetTotals(ctx context.Context, id string, t api.AppTotals) error
	Kill(ctx context.Context, id string, executors []string) error
	Exclude(ctx context.Context, id string, e api.AppExclude) error
	Admit(ctx context.Context, id, host string) error
	Stop(ctx context.Context, id, reason string) error
	// Heard commits a sign of life of the application's driver.
	Heard(ctx context.Context, id string) error
	// Event is a change of the application as its stream shows it; false: it is
	// none of the application's.
	Event(id string, c *fsm.Change) (api.AppEvent, bool)
}

// AppInvalidError says which field or property of a request cannot be used, and
// what is allowed.
type AppInvalidError struct{ Field, Reason string }

func (e *AppInvalidError) Error() string { return e.Field + ": " + e.Reason }
