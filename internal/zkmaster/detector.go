package zkmaster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Detector follows the election of the Mesos masters. Each call of Detect has a
// session of its own, so a Detector holds nothing that must be closed, and a
// session that expired is of no concern to the next call.
type Detector struct {
	path   string
	conn   zkconn.Config
	scheme string
	log    *slog.Logger
}

var _ mesosutil.MasterDetector = (*Detector)(nil)

// Options of a Detector. The zero value is the default.
type Options struct {
	// HTTPS names masters by host name rather than by IP address, as their
	// certificates do, with https:// in front.
	HTTPS bool
	// Session is how long ZooKeeper keeps the session of a silent client.
	// Default 10 s, which is also the default of Mesos.
	Session time.Duration
	Logger  *slog.Logger // default slog.Default()
}

// New makes the detector of a zk:// master.
func New(m mesosutil.Master, o Options) (*Detector, error) {
	if !m.ZooKeeper {
		return nil, fmt.Errorf("zkmaster: %v is no zk:// URL", m)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	d := &Detector{
		path: m.Path, log: o.Logger,
		conn: zkconn.Config{Servers: m.Hosts, Session: o.Session, Logger: o.Logger},
	}
	d.conn.User, d.conn.Password = m.Auth()
	if o.HTTPS {
		d.scheme = "https://"
	}
	return d, nil
}

// Detect returns the leading master, as one item, as soon as it differs from the
// first of previous. While no master leads it waits. Errors: those of ctx;
// zkconn.ErrUnreachable and others of ZooKeeper, after which it may be called
// again.
func (d *Detector) Detect(ctx context.Context, previous []string) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := zkconn.Dial(ctx, d.conn)
	if err != nil {
		return nil, d.failed(ctx, err)
	}
	defer conn.Close()
	for {
		leader, changed, err := d.look(conn)
		if err != nil {
			return nil, d.failed(ctx, err)
		}
		if leader != "" && (len(previous) == 0 || leader != previous[0]) {
			d.log.Info("leading Mesos master found in ZooKeeper", "master", leader, "path", d.path)
			return []string{leader}, nil
		}
		select {
		case e := <-changed:
			if e.Err != nil {
				return nil, d.failed(ctx, e.Err)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// failed prefers the error of ctx: its end closes the connection, which fails
// whatever is under way.
func (d *Detector) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("find the leading Mesos master in ZooKeeper: %w", err)
}

// look finds the leader of this moment, "" for none, and the channel on which a
// change of the election is told.
func (d *Detector) look(conn *zkconn.Conn) (leader string, changed <-chan zkconn.Event, err error) {
	for {
		names, changed, err := conn.ChildrenW(d.path)
		if errors.Is(err, zkconn.ErrNoNode) {
			// The first master to come makes it.
			found, created, err := conn.ExistsW(d.path)
			if err == nil && found {
				continue
			}
			return "", created, err
		}
		if err != nil {
			return "", nil, err
		}
		name := leading(names)
		if name == "" {
			return "", changed, nil
		}
		data, _, err := conn.Get(path.Join(d.path, name))
		if errors.Is(err, zkconn.ErrNoNode) {
			continue // it went away in between
		}
		if err != nil {
			return "", nil, err
		}
		address, err := d.address(name, data)
		if err != nil {
			// Whoever leads next may make sense.
			d.log.Warn("the leading Mesos master cannot be understood", "node", path.Join(d.path, name), "error", err)
			return "", changed, nil
		}
		return d.scheme + address, changed, nil
	}
}

// leading is the name of the node of the leader, or "".
func leading(names []string) string {
	masters := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, _, ok := parseName(name)
		return !ok
	})
	if len(masters) == 0 {
		return ""
	}
	return slices.MinFunc(masters, func(a, b string) int {
		_, m, _ := parseName(a)
		_, n, _ := parseName(b)
		return int(m - n)
	})
}
