package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseMaster(t *testing.T) {
	for in, want := range map[string]Master{
		"host":                         {Hosts: []string{"host:5050"}},
		" host:1 ":                     {Hosts: []string{"host:1"}},
		"mesos://host:5051":            {Hosts: []string{"host:5051"}},
		"mesos://a:1, b:2,c,a:1":       {Hosts: []string{"a:1", "b:2", "c:5050"}},
		"http://host:5050/":            {Scheme: "http", Hosts: []string{"host:5050"}},
		"mesos://https://host":         {Scheme: "https", Hosts: []string{"host:5050"}},
		"[::1]:5050":                   {Hosts: []string{"[::1]:5050"}},
		"[fe80::1%eth0]":               {Hosts: []string{"[fe80::1%eth0]:5050"}},
		"zk://host/mesos":              {ZooKeeper: true, Hosts: []string{"host:2181"}, Path: "/mesos"},
		"mesos://zk://a:1,b:2/mesos/x": {ZooKeeper: true, Hosts: []string{"a:1", "b:2"}, Path: "/mesos/x"},
		"zk://u:p@ss:w/rd@a:1/m/":      {ZooKeeper: true, Hosts: []string{"a:1"}, Path: "/m", auth: "u:p@ss:w/rd"},
	} {
		got, err := ParseMaster(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		} else if diff := cmp.Diff(want, got, cmp.AllowUnexported(Master{})); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

func TestParseMasterRefuses(t *testing.T) {
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprintf("h%d", i))
	}
	for in, mention := range map[string]string{
		"":                              "no host",
		"mesos://":                      "no host",
		"a,,b":                          "no valid host name",
		"a:0":                           "1 to 65535",
		"a:65536":                       "1 to 65535",
		"a:http":                        "1 to 65535",
		"a:":                            "1 to 65535",
		":5050":                         "no valid host name",
		"::1":                           "brackets",
		"fe80::1:5050":                  "brackets",
		"a b:5050":                      "no valid host name",
		"host:5050/path":                "path",
		"http://user:pw@host":           "spark.mesos.principal",
		"ftp://host":                    "ftp",
		"mesos://mesos://host":          "mesos",
		"zk://host":                     "path",
		"zk://host/":                    "path",
		"zk://host//x":                  "empty part",
		"zk:///mesos":                   "no host",
		"zk://user@host/mesos":          "password",
		strings.Join(many, ","):         "64",
		strings.Repeat("a,", 3000) + "": "4096",
	} {
		if _, err := ParseMaster(in); !errors.Is(err, ErrMasterURL) || !strings.Contains(err.Error(), mention) {
			t.Errorf("%.40q: %v, want mention of %q", in, err, mention)
		}
	}
}

func TestMasterHidesItsPassword(t *testing.T) {
	m, err := ParseMaster("zk://user:hidden@a,b/mesos")
	if err != nil {
		t.Fatal(err)
	}
	if user, password := m.Auth(); user != "user" || password != "hidden" {
		t.Fatalf("auth %q %q", user, password)
	}
	if got, want := m.String(), "zk://user:***@a:2181,b:2181/mesos"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", m, m, m, m), m.LogValue().String()} {
		if strings.Contains(text, "hidden") {
			t.Fatalf("password in %q", text)
		}
	}
}

func FuzzParseMaster(f *testing.F) {
	for _, seed := range []string{"host", "mesos://zk://u:p@a:1,b/m", "https://[::1]:5050,b", "a,,b", "zk://@/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		m, err := ParseMaster(in)
		if err != nil {
			if !errors.Is(err, ErrMasterURL) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if len(m.Hosts) == 0 || m.ZooKeeper != (m.Path != "") {
			t.Fatalf("%q gives %+v", in, m)
		}
		if m.auth != "" {
			return // printed without its password
		}
		again, err := ParseMaster(m.String())
		if diff := cmp.Diff(m, again, cmpopts.EquateEmpty(), cmp.AllowUnexported(Master{})); err != nil || diff != "" {
			t.Fatalf("%q prints as %q: %v %s", in, m, err, diff)
		}
	})
}

func TestBackoffStaysInBounds(t *testing.T) {
	b := backoff{least: time.Millisecond, most: time.Second}
	var drawn []time.Duration
	for n := range 200 {
		ceiling := time.Second
		if n < 9 {
			ceiling = time.Millisecond << n
		}
		got := b.next()
		if got < 0 || got > ceiling {
			t.Fatalf("wait %d is %v, over %v", n, got, ceiling)
		}
		drawn = append(drawn, got)
	}
	if slices.Max(drawn) < 500*time.Millisecond || slices.Min(drawn[20:]) > 500*time.Millisecond {
		t.Fatal("not spread over its span") // chance: 2⁻¹⁸⁰
	}
	b.reset()
	if got := b.next(); got > time.Millisecond {
		t.Fatalf("%v after reset", got)
	}
	if got := (&backoff{}).next(); got != 0 {
		t.Fatalf("%v from the zero back-off", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	(&backoff{least: time.Hour, most: time.Hour}).wait(ctx) // returns
}
