package zkmaster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 2 * time.Minute

// master is the node of one Mesos master.
type master struct {
	conn *zkconn.Conn
	node string
}

// info is a MasterInfo as Mesos 1.11 writes it.
func info(ip string, port int) []byte {
	return fmt.Appendf(nil, `{"address":{"hostname":"m.example","ip":%q,"port":%d},"capabilities":[{"type":"AGENT_UPDATE"}],`+
		`"hostname":"m.example","id":"0d1a","ip":16777343,"pid":"master@%s:%d","port":%d,"version":"1.11.0"}`, ip, port, ip, port, port)
}

func dial(t testing.TB, server *zkfixture.Server, session time.Duration) *zkconn.Conn {
	t.Helper()
	c, err := zkconn.Dial(context.Background(), zkconn.Config{Servers: []string{server.Addr()}, Session: session})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stand puts a master up for election, with a session of its own.
func stand(t testing.TB, server *zkfixture.Server, path string, data []byte) *master {
	t.Helper()
	m := &master{conn: dial(t, server, 10*time.Second)}
	var err error
	if m.node, err = m.conn.CreateEphemeral(path, data); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *master) resign() { m.conn.Close() }

func detector(t testing.TB, url string, o Options) *Detector {
	t.Helper()
	parsed, err := mesosutil.ParseMaster(url)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(parsed, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type outcome struct {
	masters []string
	err     error
}

func follow(ctx context.Context, d *Detector, previous []string) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		masters, err := d.Detect(ctx, previous)
		out <- outcome{masters, err}
	}()
	return out
}

func expect(t *testing.T, out <-chan outcome, want string) []string {
	t.Helper()
	select {
	case o := <-out:
		if o.err != nil || len(o.masters) != 1 || o.masters[0] != want {
			t.Fatalf("got %v, %v, want %s", o.masters, o.err, want)
		}
		return o.masters
	case <-time.After(patience):
		t.Fatalf("no answer; want %s", want)
		return nil
	}
}

func TestTheElectionIsFollowed(t *testing.T) {
	server := zkfixture.Require(t)
	setup := dial(t, server, 10*time.Second)
	defer setup.Close()
	d := detector(t, "mesos://zk://"+server.Addr()+"/prod/mesos", Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	// Neither the path nor a master is there yet.
	waiting := follow(ctx, d, nil)
	for _, path := range []string{"/prod", "/prod/mesos", "/prod/mesos/log_replicas"} {
		if err := setup.Create(path, nil); err != nil {
			t.Fatal(err)
		}
	}
	first := stand(t, server, "/prod/mesos/json.info_", info("127.0.0.1", 5050))
	leader := expect(t, waiting, "127.0.0.1:5050")

	// A second master changes nothing, until the first one is gone.
	second := stand(t, server, "/prod/mesos/json.info_", info("127.0.0.1", 5051))
	defer second.resign()
	changes := follow(ctx, d, leader)
	third := stand(t, server, "/prod/mesos/json.info_", info("127.0.0.1", 5052))
	first.resign()
	leader = expect(t, changes, "127.0.0.1:5051")
	defer third.resign()

	// What is known is told at once.
	expect(t, follow(ctx, d, nil), "127.0.0.1:5051")
	expect(t, follow(ctx, d, []string{"127.0.0.1:5050"}), "127.0.0.1:5051")

	// While nobody leads there is nothing to tell.
	changes = follow(ctx, d, leader)
	second.resign()
	leader = expect(t, changes, "127.0.0.1:5052")
	changes = follow(ctx, d, leader)
	third.resign()
	fourth := stand(t, server, "/prod/mesos/json.info_", info("127.0.0.1", 5053))
	defer fourth.resign()
	leader = expect(t, changes, "127.0.0.1:5053")

	changes = follow(ctx, d, leader)
	cancel()
	if o := <-changes; !errors.Is(o.err, context.Canceled) {
		t.Errorf("got %v, %v", o.masters, o.err)
	}
}

func TestALostServerIsAnErrorAndAskingAgainGoesOn(t *testing.T) {
	server := zkfixture.Require(t)
	m := stand(t, server, "/json.info_", info("127.0.0.1", 5050))
	setup := dial(t, server, time.Second)
	if err := setup.Create("/mesos", nil); err != nil {
		t.Fatal(err)
	}
	setup.Close()
	defer m.resign()
	lasting := stand(t, server, "/mesos/json.info_", info("127.0.0.1", 5050))
	defer lasting.resign()
	d := detector(t, "zk://"+server.Addr()+"/mesos", Options{Session: 2 * time.Second})
	leader := expect(t, follow(t.Context(), d, nil), "127.0.0.1:5050")

	// detect asks until there is an answer, as the driver does.
	detect := func(ctx context.Context, previous []string) <-chan outcome {
		out := make(chan outcome, 1)
		go func() {
			for {
				masters, err := d.Detect(ctx, previous)
				if err == nil || ctx.Err() != nil {
					out <- outcome{masters, err}
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		return out
	}
	t.Run("restart", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := detect(ctx, leader)
		server.Kill()
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := stand(t, server, "/mesos/json.info_", info("127.0.0.1", 5051))
		defer next.resign()
		lasting.resign()
		leader = expect(t, changes, "127.0.0.1:5051")
	})
	t.Run("session expired", func(t *testing.T) {
		// The detector's session ends while the server is frozen; after that the
		// election goes on.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		failed := follow(ctx, d, leader)
		server.Freeze()
		select {
		case o := <-failed:
			if o.err == nil {
				t.Errorf("got %v from a frozen server", o.masters)
			}
		case <-time.After(patience):
			t.Error("a frozen server was not noticed")
		}
		server.Thaw()
		next := stand(t, server, "/mesos/json.info_", info("127.0.0.1", 5052))
		defer next.resign()
		expect(t, detect(ctx, leader), "127.0.0.1:5052")
	})
	t.Run("unreachable", func(t *testing.T) {
		server.Kill()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if o := <-follow(ctx, d, nil); !errors.Is(o.err, context.DeadlineExceeded) && !errors.Is(o.err, zkconn.ErrUnreachable) {
			t.Errorf("got %v, %v", o.masters, o.err)
		}
	})
}

func TestAMasterIsNamedByItsInfo(t *testing.T) {
	binary, err := (&mesos.MasterInfo{ID: "x", IP: 16777343, Port: proto(uint32(5055)), PID: text("master@192.0.2.7:5055")}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, node, data, want string
		https                  bool
	}{
		{"JSON", "json.info_0000000001", string(info("192.0.2.1", 5050)), "192.0.2.1:5050", false},
		{"JSON with TLS", "json.info_0000000001", string(info("192.0.2.1", 5050)), "https://m.example:5050", true},
		{"without an address", "json.info_0000000001", `{"hostname":"m.example","pid":"master@192.0.2.9:5051","port":5051}`, "192.0.2.9:5051", false},
		{"only a host name", "json.info_0000000001", `{"hostname":"m.example","port":5051}`, "m.example:5051", false},
		{"IPv6", "json.info_0000000001", `{"address":{"ip":"2001:db8::1","port":5050}}`, "[2001:db8::1]:5050", false},
		{"protobuf", "info_0000000001", string(binary), "192.0.2.7:5055", false},
		{"no address", "json.info_0000000001", `{}`, "", false},
		{"no JSON", "json.info_0000000001", `json`, "", false},
		{"no protobuf", "info_0000000001", "\xff\xff", "", false},
		{"port out of range", "json.info_0000000001", `{"hostname":"m","port":70000}`, "", false},
	} {
		d := detector(t, "zk://h/mesos", Options{HTTPS: c.https})
		got, err := d.address(c.node, []byte(c.data))
		if err == nil {
			got = d.scheme + got
		}
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func proto(v uint32) *uint32 { return &v }
func text(v string) *string  { return &v }

func TestTheLowestNumberLeads(t *testing.T) {
	for names, want := range map[string]string{
		"":                   "",
		"log_replicas,other": "",
		"json.info_0000000012,json.info_0000000003":        "json.info_0000000003",
		"json.info_0000000012,info_0000000003,replicas_01": "info_0000000003",
		"json.info_x,json.info_0000000009":                 "json.info_0000000009",
	} {
		if got := leading(strings.Split(names, ",")); got != want {
			t.Errorf("%s: %q, want %q", names, got, want)
		}
	}
}

func TestAListOfMastersIsRefused(t *testing.T) {
	m, err := mesosutil.ParseMaster("host:5050")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(m, Options{}); err == nil {
		t.Error("host:5050 was taken for a ZooKeeper URL")
	}
}
