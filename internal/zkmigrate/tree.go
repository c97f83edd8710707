package zkmigrate

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// DefaultDir is spark.deploy.zookeeper.dir where it is not set.
const DefaultDir = "/spark_mesos_dispatcher"

// The parts of the tree.
const (
	dirScheduler = "scheduler/frameworkId"
	dirQueue     = "driverQueue"
	dirLaunched  = "launchedDrivers"
	dirRetry     = "retryList"
)

// ErrNoTree says that there is nothing at the place to migrate from.
var ErrNoTree = errors.New("no dispatcher has kept anything there")

// Source says where the tree is.
type Source struct {
	Servers        []string // host:port
	User, Password string   // none if empty
	Dir            string   // such as /spark_mesos_dispatcher, chroot included
}

// ParseSource reads zk://[user:password@]host[:port][,…][/chroot] and the
// directory below it; without one, DefaultDir.
func ParseSource(url, dir string) (Source, error) {
	if dir == "" {
		dir = DefaultDir
	}
	if !strings.HasPrefix(dir, "/") || path.Clean(dir) != dir || dir == "/" {
		return Source{}, fmt.Errorf("the directory %q is not an absolute path of ZooKeeper, such as %s", dir, DefaultDir)
	}
	if !strings.HasPrefix(url, "zk://") {
		return Source{}, fmt.Errorf("%q does not begin with zk://, as in zk://host1:2181,host2:2181", url)
	}
	// With the directory behind it, the URL has the form of a zk:// master.
	m, err := mesosutil.ParseMaster(strings.TrimSuffix(url, "/") + dir)
	if err != nil {
		return Source{}, err
	}
	s := Source{Servers: m.Hosts, Dir: m.Path}
	s.User, s.Password = m.Auth()
	return s, nil
}

// Node is one node of the tree, as it is stored.
type Node struct {
	Path    string
	ID      string // of the driver
	Data    []byte
	Version int64 // transaction that wrote it
}

// Tree is the state of a dispatcher.
type Tree struct {
	FrameworkID Node // no Data: never registered
	Queued      []Node
	Launched    []Node
	Retrying    []Node
}

// Len is the number of drivers.
func (t *Tree) Len() int { return len(t.Queued) + len(t.Launched) + len(t.Retrying) }

// Read fetches a tree. Errors: ErrNoTree, those of zkconn and of ctx.
func Read(ctx context.Context, s Source) (*Tree, error) {
	return read(ctx, s, func(int, int) {})
}

// reads is how many requests are on their way to ZooKeeper at a time.
const reads = 32

func read(ctx context.Context, s Source, progress func(done, total int)) (*Tree, error) {
	conn, err := zkconn.Dial(ctx, zkconn.Config{Servers: s.Servers, User: s.User, Password: s.Password})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	t := new(Tree)
	if _, _, err := conn.Children(s.Dir); errors.Is(err, zkconn.ErrNoNode) {
		return nil, fmt.Errorf("%w: %s; is this the dispatcher's spark.deploy.zookeeper.dir?", ErrNoTree, s.Dir)
	} else if err != nil {
		return nil, err
	}
	id, _, err := readNode(conn, path.Join(s.Dir, dirScheduler))
	if err != nil {
		return nil, err
	}
	t.FrameworkID = id
	r := reader{conn: conn, progress: progress}
	for _, part := range []struct {
		dir   string
		nodes *[]Node
	}{{dirLaunched, &t.Launched}, {dirRetry, &t.Retrying}, {dirQueue, &t.Queued}} {
		if *part.nodes, err = r.list(path.Join(s.Dir, part.dir)); err != nil {
			return nil, err
		}
	}
	for _, nodes := range []*[]Node{&t.Launched, &t.Retrying, &t.Queued} {
		if *nodes, err = r.fetch(*nodes); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// reader reads the parts of a tree.
type reader struct {
	conn     *zkconn.Conn
	progress func(done, total int)
	total    int
	mu       sync.Mutex
	done     int
}

// list names the drivers of one part, in the order of their ids.
func (r *reader) list(dir string) ([]Node, error) {
	names, _, err := r.conn.Children(dir)
	if errors.Is(err, zkconn.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	nodes := make([]Node, len(names))
	for i, name := range names {
		nodes[i].Path = path.Join(dir, name)
	}
	r.total += len(nodes)
	return nodes, nil
}

// fetch reads nodes. One that has gone away meanwhile is left out: Changed will
// tell.
func (r *reader) fetch(nodes []Node) ([]Node, error) {
	var g errgroup.Group
	g.SetLimit(reads)
	for i := range nodes {
		g.Go(func() (err error) {
			nodes[i], _, err = readNode(r.conn, nodes[i].Path)
			r.tell()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(nodes, func(n Node) bool { return n.ID == "" }), nil
}

func (r *reader) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	r.progress(r.done, r.total)
}

func readNode(conn *zkconn.Conn, at string) (n Node, found bool, err error) {
	data, stat, err := conn.Get(at)
	if errors.Is(err, zkconn.ErrNoNode) {
		return Node{Path: at}, false, nil
	}
	if err != nil {
		return Node{}, false, err
	}
	return Node{Path: at, ID: path.Base(at), Data: data, Version: stat.Mzxid}, true, nil
}

// Changed tells whether somebody wrote to the tree between two readings: its
// dispatcher is alive.
func Changed(before, after *Tree) bool {
	same := func(a, b Node) bool { return a.Path == b.Path && a.Version == b.Version }
	return !same(before.FrameworkID, after.FrameworkID) ||
		!slices.EqualFunc(before.Queued, after.Queued, same) ||
		!slices.EqualFunc(before.Launched, after.Launched, same) ||
		!slices.EqualFunc(before.Retrying, after.Retrying, same)
}
