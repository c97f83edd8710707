package localmesos_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func serveSlowly(t *testing.T, asked, release chan struct{}) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/slow"
}

type entry struct {
	name, content, link string
	mode                int64
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(e.content))
	}
	w.Close()
	return b.Bytes()
}

func gzipOf(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zipOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name}
		h.SetMode(os.FileMode(e.mode))
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(e.content))
	}
	w.Close()
	return b.Bytes()
}

func TestFetch(t *testing.T) {
	dir := t.TempDir()
	tree := []entry{{name: "top/run.sh", content: "#!/bin/sh\necho ran", mode: 0o755}, {name: "top/data", content: "data", mode: 0o644}}
	escape := tarOf(t, entry{name: "../../escaped", content: "x", mode: 0o644})
	tunnel := tarOf(t, entry{name: "out", link: dir, mode: 0o777}, entry{name: "out/tunnelled", content: "x", mode: 0o644})
	for name, b := range map[string][]byte{
		"plain.txt": []byte("hello"), "script": []byte("#!/bin/sh\necho scripted"),
		"a.tar": tarOf(t, append(tree, entry{name: "top/link", link: "data"})...), "a.tgz": gzipOf(tarOf(t, tree...)),
		"a.tar.gz": gzipOf(tarOf(t, tree...)), "a.zip": zipOf(t, tree...),
		"escape.tar": escape, "tunnel.tar": tunnel, "torn.tgz": gzipOf(escape)[:20], "escape.zip": zipOf(t, entry{name: "../escaped", content: "x", mode: 0o644}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(files.Close)
	yes, no := true, false
	text := func(s string) *string { return &s }
	m := start(t, localmesos.Options{})
	for _, c := range []struct {
		name    string
		uri     mesos.CommandInfo_URI
		command string
		stdout  string
		failure string
	}{
		{name: "plain path", uri: mesos.CommandInfo_URI{Value: dir + "/plain.txt"}, command: "cat plain.txt", stdout: "hello"},
		{name: "file URI", uri: mesos.CommandInfo_URI{Value: "file://" + dir + "/plain.txt"}, command: "cat plain.txt", stdout: "hello"},
		{name: "http", uri: mesos.CommandInfo_URI{Value: files.URL + "/plain.txt?x=y"}, command: "cat plain.txt", stdout: "hello"},
		{name: "output file", uri: mesos.CommandInfo_URI{Value: dir + "/plain.txt", OutputFile: text("sub/name")}, command: "cat sub/name", stdout: "hello"},
		{name: "executable", uri: mesos.CommandInfo_URI{Value: dir + "/script", Executable: &yes}, command: "./script", stdout: "scripted\n"},
		{name: "tar", uri: mesos.CommandInfo_URI{Value: dir + "/a.tar"}, command: "top/run.sh; cat top/link", stdout: "ran\ndata"},
		{name: "tgz", uri: mesos.CommandInfo_URI{Value: files.URL + "/a.tgz"}, command: "top/run.sh", stdout: "ran\n"},
		{name: "tar.gz", uri: mesos.CommandInfo_URI{Value: dir + "/a.tar.gz"}, command: "top/run.sh", stdout: "ran\n"},
		{name: "zip", uri: mesos.CommandInfo_URI{Value: dir + "/a.zip"}, command: "top/run.sh", stdout: "ran\n"},
		{name: "not extracted", uri: mesos.CommandInfo_URI{Value: dir + "/a.tar", Extract: &no}, command: "ls", stdout: "a.tar\nstderr\nstdout\n"},
		{name: "missing", uri: mesos.CommandInfo_URI{Value: dir + "/nothing"}, failure: "no such file"},
		{name: "missing on the server", uri: mesos.CommandInfo_URI{Value: files.URL + "/nothing"}, failure: "the server answered 404"},
		{name: "secrets in the URI", uri: mesos.CommandInfo_URI{Value: strings.Replace(files.URL, "://", "://u:hush@", 1) + "/nothing?token=hush"}, failure: "/nothing': the server answered 404"},
		{name: "secrets in the URI of no server", uri: mesos.CommandInfo_URI{Value: "http://u:hush@127.0.0.1:1/nothing?token=hush"}, failure: "/nothing': dial tcp"},
		{name: "secrets in a malformed URI", uri: mesos.CommandInfo_URI{Value: "http://u:hush@127.0.0.1:1/%zz?token=hush"}, failure: "a malformed URI"},
		{name: "directory", uri: mesos.CommandInfo_URI{Value: dir}, failure: "not a regular file"},
		{name: "relative", uri: mesos.CommandInfo_URI{Value: "plain.txt"}, failure: "must be absolute"},
		{name: "other scheme", uri: mesos.CommandInfo_URI{Value: "hdfs://nn/x"}, failure: `not "hdfs"`},
		{name: "output outside", uri: mesos.CommandInfo_URI{Value: dir + "/plain.txt", OutputFile: text("../x")}, failure: "not a file name within the sandbox"},
		{name: "archive leads out", uri: mesos.CommandInfo_URI{Value: dir + "/escape.tar"}, failure: "leads out of the sandbox"},
		{name: "zip leads out", uri: mesos.CommandInfo_URI{Value: dir + "/escape.zip"}, failure: "extracting"},
		{name: "link leads out", uri: mesos.CommandInfo_URI{Value: dir + "/tunnel.tar"}, failure: "extracting"},
		{name: "torn archive", uri: mesos.CommandInfo_URI{Value: dir + "/torn.tgz"}, failure: "extracting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
			defer f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
			task := shell("t", c.command)
			task.Command.URIs = []mesos.CommandInfo_URI{c.uri}
			f.launch(task)
			if c.failure != "" {
				s := f.until("t", mesos.TASK_FAILED)
				if strings.Contains(s.GetMessage(), "hush") {
					t.Errorf("a secret in message %q", s.GetMessage())
				}
				if !strings.HasPrefix(s.GetMessage(), "Failed to launch container: Failed to fetch all URIs") || !strings.Contains(s.GetMessage(), c.failure) {
					t.Errorf("message %q, want %q", s.GetMessage(), c.failure)
				}
				return
			}
			f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED)
			if got := readSandbox(t, m, "t", "stdout"); got != c.stdout {
				t.Errorf("stdout %q, want %q", got, c.stdout)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "tunnelled")); err == nil {
		t.Error("an archive wrote outside its sandbox")
	}
}
