package shuffle_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
)

// moduleOptions let Netty and Spark at what Java 17 hides.
var moduleOptions = []string{"-XX:+IgnoreUnrecognizedVMOptions", "--add-opens=java.base/java.nio=ALL-UNNAMED",
	"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED"}

// javaHash is Arrays.hashCode of bytes, in hexadecimal.
func javaHash(p []byte) string {
	h := int32(1)
	for _, b := range p {
		h = 31*h + int32(int8(b))
	}
	return fmt.Sprintf("%x", uint32(h))
}

// sparkClient runs testdata/ShuffleClient.java and returns what it printed, and
// a function that ends it.
func sparkClient(t *testing.T, spark *sparkfixture.Spark, s *shuffle.Service, e *executor, secret string, props map[string]string) (lines []string, end func()) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr().String())
	args := append(slices.Clone(moduleOptions), "-Xmx256m", "-cp", jobJar(t, spark)+":"+filepath.Join(spark.Home(), "jars", "*"),
		"ShuffleClient", port, e.app, secret, e.loc.Dirs[0])
	for k, v := range props {
		args = append(args, k+"="+v)
	}
	cmd := fixture.Command(t.Context(), "java", args...)
	log := &bytes.Buffer{}
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() { in.Close(); cmd.Wait() }
	t.Cleanup(end)
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		line, ours := strings.CutPrefix(scanner.Text(), "> ")
		if line == "done" {
			return lines, end
		}
		if ours {
			lines = append(lines, line)
		}
	}
	end()
	text := log.String()
	t.Fatalf("Spark's client ended early after %q:\n%s", lines, text[:min(len(text), 4000)])
	return nil, nil
}

// TestSparksOwnClient lets the client classes of Spark 3.5 and 4 do everything
// that a client can ask for, in every way to authenticate.
func TestSparksOwnClient(t *testing.T) {
	engine := func(more ...string) map[string]string {
		m := map[string]string{"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	// One of each line by default: a JVM takes seconds on a busy machine.
	variants := []struct {
		name    string
		props   map[string]string
		version string // "" is both
		always  bool
	}{
		{"open", map[string]string{}, "", true},
		{"old fetch protocol", map[string]string{"spark.shuffle.useOldFetchProtocol": "true"}, "", true},
		{"SASL", map[string]string{"spark.authenticate": "true"}, "", false},
		{"SASL encrypted", map[string]string{"spark.authenticate": "true", "spark.authenticate.enableSaslEncryption": "true"}, "", false},
		{"AuthEngine", engine(), "", false},
		{"AuthEngine 2", engine("spark.network.crypto.authEngineVersion", "2"), sparkfixture.Version4, true},
	}
	for version, spark := range map[string]*sparkfixture.Spark{sparkfixture.Version3: sparkfixture.Require(t), sparkfixture.Version4: sparkfixture.Require4(t)} {
		for _, v := range variants {
			if v.version != "" && v.version != version || !v.always && !full() {
				continue
			}
			t.Run(version+" "+v.name, func(t *testing.T) {
				props := maps.Clone(v.props)
				secret := ""
				if props["spark.authenticate"] == "true" {
					secret = "a secret"
					props["spark.authenticate.secret"] = secret
				}
				s := start(t, func(c *shuffle.Config) {
					fresh, err := shuffle.FromProperties(props)
					if err != nil {
						t.Fatal(err)
					}
					fresh.Addr, fresh.Log = c.Addr, c.Log
					*c = fresh
				})
				checkSparkClient(t, spark, s, secret, props)
			})
		}
	}
}

func checkSparkClient(t *testing.T, spark *sparkfixture.Spark, s *shuffle.Service, secret string, props map[string]string) {
	t.Helper()
	e := newExecutor(t, "app", "1")
	e.loc.Dirs = e.loc.Dirs[:1]
	parts := e.output(0, 0, 100, 70_000, 3)
	second := e.output(0, 1, 2_000_000)
	e.write("rdd_1_2", []byte("cached"))
	e.write("shuffle_0_0_0.checksum.ADLER32", binary.BigEndian.AppendUint64(make([]byte, 8), uint64(adler32.Checksum(parts[1]))))
	block := func(id string, p []byte) string { return fmt.Sprintf("%s %d bytes %s", id, len(p), javaHash(p)) }
	old := props["spark.shuffle.useOldFetchProtocol"] == "true"
	got, end := sparkClient(t, spark, s, e, secret, props)
	defer end()
	want := []string{
		"dirs " + e.loc.Dirs[0],
		block("shuffle_0_0_0", parts[0]), block("shuffle_0_0_1", parts[1]), block("shuffle_0_1_0", second[0]), block("shuffle_0_0_2", parts[2]),
		block("shuffle_0_0_0_3", bytes.Join(parts, nil)), block("shuffle_0_1_0_1", second[0]),
		block("rdd_1_2", []byte("cached")),
		"rdd_7_7 failed Failure while fetching StreamChunkId",
		"shuffle_5_0_0 failed Failure while fetching StreamChunkId",
		"cause NETWORK_ISSUE", "removed 1",
	}
	if old { // batches exist in the new protocol only
		want[5], want[6] = "shuffle_0_0_0_3 failed", "shuffle_0_1_0_1 failed"
	}
	if len(got) != len(want) {
		t.Fatalf("printed %q", got)
	}
	for i, w := range want {
		if !strings.HasPrefix(got[i], w) {
			t.Errorf("printed %q, want %q", got[i], w)
		}
	}
}

// TestSparksMesosDriver is the driver's side of Spark on Mesos: it registers,
// its heartbeats keep the application, and its death lets it go.
func TestSparksMesosDriver(t *testing.T) {
	spark := sparkfixture.Require(t)
	s := start(t, func(c *shuffle.Config) { c.CleanerInterval = 50 * time.Millisecond })
	e := newExecutor(t, "app", "1")
	e.loc.Dirs = e.loc.Dirs[:1]
	e.output(0, 0, 10)
	_, end := sparkClient(t, spark, s, e, "", map[string]string{"mesos": "true"})
	eventually(t, "forty heartbeats, twice its timeout", func() bool {
		n, err := strconv.Atoi(metric(s, "ha_dispatcher_shuffle_heartbeats_total"))
		return err == nil && n >= 40
	})
	if metric(s, "ha_dispatcher_shuffle_expired_apps_total") != "0" || !exists(e.loc.Dirs[0]) {
		t.Fatal("removed although its driver was beating")
	}
	end()
	eventually(t, "removed with its files after the driver's death", func() bool { return !exists(e.loc.Dirs[0]) })
}
