package node_test

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
)

// secureMesos is a Mesos behind TLS: its address, and the file of its authority.
func secureMesos(t *testing.T) (addr, caFile string) {
	t.Helper()
	m, err := localmesos.Start(t.Context(), localmesos.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: m.Addr()})
	proxy.FlushInterval = -1 // events are a stream
	s := httptest.NewTLSServer(proxy)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	return s.Listener.Addr().String(), caFile
}

// elect puts a master into ZooKeeper as Mesos does, under a name that its
// certificate bears; the IP address beside it leads nowhere.
func elect(t *testing.T, zk *zkfixture.Server, addr string) {
	t.Helper()
	c, err := zkconn.Dial(t.Context(), zkconn.Config{Servers: []string{zk.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	info := fmt.Sprintf(`{"address":{"hostname":%q,"ip":"127.255.255.254","port":%s},"hostname":%q,"id":"m","ip":1,"pid":"master@127.255.255.254:%s","port":%s}`,
		host, port, host, port, port)
	if err := c.Create("/mesos", nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Create("/mesos/json.info_0000000000", []byte(info)); err != nil {
		t.Fatal(err)
	}
}

// secured is single with the variables that tell libprocess to speak TLS.
func secured(t *testing.T, master, caFile string) node.Config {
	cfg := single(t)
	cfg.Master = master
	variables := map[string]string{"LIBPROCESS_SSL_ENABLED": "1", "LIBPROCESS_SSL_CA_FILE": caFile}
	cfg.Env = func(name string) (string, bool) { v, set := variables[name]; return v, set }
	return cfg
}

// A master that is found through ZooKeeper is called by its name, which its
// certificate bears, and not by its IP address.
func TestANodeSpeaksToMesosByHTTPS(t *testing.T) {
	zk := zkfixture.Require(t)
	addr, caFile := secureMesos(t)
	elect(t, zk, addr)
	for name, master := range map[string]string{
		"found through ZooKeeper": "mesos://zk://" + zk.Addr() + "/mesos",
		"named by a URL":          "mesos://https://" + addr,
		"named by an address":     "mesos://" + addr,
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, secured(t, master, caFile))
			eventually(t, "the subscription", func() bool { ready, _ := n.Ready(); return ready })
			if at := n.State().Framework().Master; at != "https://"+addr {
				t.Errorf("subscribed at %s", at)
			}
		})
	}
}

func TestAMesosWithAnUnknownAuthorityIsNotTrusted(t *testing.T) {
	addr, _ := secureMesos(t)
	n := start(t, secured(t, "mesos://"+addr, ""))
	eventually(t, "the refusal", func() bool {
		err := n.LeaderStatus().Err
		return err != nil && strings.Contains(err.Error(), "certificate")
	})
}
