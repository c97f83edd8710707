package zkconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// Errors of ZooKeeper that callers tell apart.
var (
	ErrNoNode     = zk.ErrNoNode
	ErrNoAuth     = zk.ErrNoAuth
	ErrNodeExists = zk.ErrNodeExists
	// ErrUnreachable says that no server granted a session in time.
	ErrUnreachable = errors.New("no ZooKeeper server can be reached")
)

// Types of the library that callers name.
type (
	// Event is what a watch tells.
	Event = zk.Event
	// Stat is what ZooKeeper knows of a node.
	Stat = zk.Stat
)

// Config of a session. Servers is required.
type Config struct {
	Servers []string // host:port
	// User and Password authenticate with the scheme "digest"; none if empty.
	User, Password string
	// Session is how long the servers keep the session of a silent client, from
	// 2 to 20 of their ticks. Default 10 s.
	Session time.Duration
	// Wait bounds the wait for a session. Default 10 s.
	Wait   time.Duration
	Logger *slog.Logger // default slog.Default()
}

// maxReply bounds what a server can make this process allocate.
const maxReply = 64 << 20

// Conn is a session with ZooKeeper. It is safe for concurrent use.
type Conn struct {
	zk     *zk.Conn
	stop   func() bool
	closed chan struct{} // the library's loop has ended
	dialer dialer
}

// Dial opens a session. It ends with ctx, or with Close. Errors: ErrUnreachable,
// ErrNoAuth, those of ctx.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.Session <= 0 {
		cfg.Session = 10 * time.Second
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	c := &Conn{closed: make(chan struct{})}
	session := make(chan struct{})
	var once sync.Once
	conn, events, err := zk.Connect(cfg.Servers, cfg.Session, zk.WithLogInfo(false),
		zk.WithLogger(logger{cfg.Logger}), zk.WithMaxBufferSize(maxReply), zk.WithDialer(c.dialer.dial),
		zk.WithEventCallback(func(e zk.Event) {
			if e.State == zk.StateHasSession {
				c.dialer.granted()
				once.Do(func() { close(session) })
			}
		}))
	if err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrUnreachable, cfg.Servers, err)
	}
	c.zk = conn
	go func() {
		defer close(c.closed)
		for range events { // closed by the library when its loop ends
		}
	}()
	c.stop = context.AfterFunc(ctx, c.end)
	wait := time.NewTimer(cfg.Wait)
	defer wait.Stop()
	select {
	case <-session:
	case <-wait.C:
		c.Close()
		return nil, fmt.Errorf("%w within %v: %v", ErrUnreachable, cfg.Wait, cfg.Servers)
	case <-ctx.Done():
		c.Close()
		return nil, ctx.Err()
	}
	if cfg.User != "" {
		if err := conn.AddAuth("digest", []byte(cfg.User+":"+cfg.Password)); err != nil {
			c.Close()
			return nil, fmt.Errorf("authenticate as %s: %w", cfg.User, err)
		}
	}
	return c, nil
}

// Close ends the session and waits until nothing of it runs any more.
func (c *Conn) Close() {
	c.stop()
	c.end()
	<-c.closed
}

// end says farewell to the server, which would keep the session otherwise, and
// then cuts the connection: the library may be waiting for a server that is
// silent.
func (c *Conn) end() {
	if c.zk.State() != zk.StateHasSession {
		c.dialer.cut()
	}
	c.zk.Close()
	c.dialer.cut()
}

// Get is the data of a node.
func (c *Conn) Get(path string) ([]byte, *Stat, error) {
	data, stat, err := c.zk.Get(path)
	return data, stat, at("read", path, err)
}

// Children are the names of the nodes below one, in no order.
func (c *Conn) Children(path string) ([]string, *Stat, error) {
	names, stat, err := c.zk.Children(path)
	return names, stat, at("list", path, err)
}

// ChildrenW is Children with one event when they change, or when the session is
// lost.
func (c *Conn) ChildrenW(path string) ([]string, <-chan Event, error) {
	names, _, changed, err := c.zk.ChildrenW(path)
	return names, changed, at("list", path, err)
}

// ExistsW tells whether there is a node, with one event when that changes, or
// when the session is lost.
func (c *Conn) ExistsW(path string) (bool, <-chan Event, error) {
	found, _, changed, err := c.zk.ExistsW(path)
	return found, changed, at("look for", path, err)
}

// Create makes a persistent node that everybody may read and write.
func (c *Conn) Create(path string, data []byte) error {
	_, err := c.zk.Create(path, data, 0, zk.WorldACL(zk.PermAll))
	return at("create", path, err)
}

// CreateEphemeral makes a node that ends with the session, with a sequence
// number after its path, and returns its whole path.
func (c *Conn) CreateEphemeral(path string, data []byte) (string, error) {
	name, err := c.zk.Create(path, data, zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	return name, at("create", path, err)
}

// Delete removes a node that has no children.
func (c *Conn) Delete(path string) error { return at("delete", path, c.zk.Delete(path, -1)) }

func at(verb, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", verb, path, err)
}

// handshakeWait is how long a server may take to grant a session. The library
// would wait for minutes, and try no other server meanwhile.
const handshakeWait = 3 * time.Second

// dialer keeps the latest connection, so that it can be cut.
type dialer struct {
	mu        sync.Mutex
	done      bool
	conn      net.Conn
	handshake *time.Timer
}

func (d *dialer) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		conn.Close()
		return nil, net.ErrClosed
	}
	d.conn = conn
	d.handshake = time.AfterFunc(handshakeWait, func() { conn.Close() })
	return conn, nil
}

func (d *dialer) granted() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handshake.Stop()
}

func (d *dialer) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = true
	if d.conn != nil {
		d.handshake.Stop()
		d.conn.Close()
	}
}

// logger takes what the library says; none of it is news to an operator, as what
// follows from it is told by the caller.
type logger struct{ log *slog.Logger }

func (l logger) Printf(format string, args ...any) {
	l.log.Debug("zookeeper: " + fmt.Sprintf(format, args...))
}
