package sparkconf

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeyTableIsCompleteAndConsistent(t *testing.T) {
	keys := Keys()
	if !slices.IsSortedFunc(keys, func(a, b Key) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the table is not sorted")
	}
	for i, k := range keys {
		if i > 0 && k.Name == keys[i-1].Name {
			t.Errorf("%s: twice", k.Name)
		}
		if !strings.HasPrefix(k.Name, MesosPrefix) || k.Doc == "" || k.Readers == 0 || k.Since == "" || k.Readers.String() == "" || k.Allowed() == "" {
			t.Errorf("%s: incomplete: %+v", k.Name, k)
		}
		if k.Default != "" {
			if err := k.Check(k.Name, k.Default); err != nil {
				t.Errorf("default refused: %v", err)
			}
		}
		if k.Type == TypeChoice && len(k.Choices) == 0 {
			t.Errorf("%s: choice without choices", k.Name)
		}
		if k.Extension() && !strings.HasPrefix(k.Name, "spark.mesos.dispatcher.") && !strings.HasPrefix(k.Name, "spark.mesos.driver.supervise.") {
			t.Errorf("%s: extensions live under spark.mesos.dispatcher.", k.Name)
		}
	}
}

func TestFindKeyKnowsFamilies(t *testing.T) {
	for name, want := range map[string]string{
		"spark.mesos.role":                              "spark.mesos.role",
		"spark.mesos.driverEnv.PATH":                    "spark.mesos.driverEnv.",
		"spark.mesos.dispatcher.queue":                  "spark.mesos.dispatcher.queue",
		"spark.mesos.dispatcher.queue.URGENT":           "spark.mesos.dispatcher.queue.",
		"spark.mesos.dispatcher.driverDefault.spark.ui": "spark.mesos.dispatcher.driverDefault.",
	} {
		if k, ok := FindKey(name); !ok || k.Name != want {
			t.Errorf("%s: %q, %v", name, k.Name, ok)
		}
	}
	for _, name := range []string{"spark.mesos.driverEnv.", "spark.mesos.rolex", "spark.mesos.dispatcher.driverProperty.x", "x"} {
		if k, ok := FindKey(name); ok {
			t.Errorf("%s found as %s", name, k.Name)
		}
	}
}

func TestCheckReportsWrongUnknownAndUnreadKeys(t *testing.T) {
	got := Check(New(map[string]string{
		"spark.mesos.coarse":                            "yes",
		"spark.mesos.extra.cores":                       "-1",
		"spark.mesos.gpus.max":                          "99999999999",
		"spark.mesos.containerizer":                     "rkt",
		"spark.mesos.coarse.shutdownTimeout":            "-3s",
		"spark.mesos.executor.memoryOverhead":           "1g",
		"spark.mesos.dispatcher.driverProperty.spark.x": "1",
		"spark.mesos.maxDrivers":                        "5",
		"spark.mesos.uris":                              "a,b",
		"spark.mesos.coarze":                            "true",
		"spark.other":                                   "anything",
	}), Submission|Application)
	var wrong []string
	for _, w := range got.Wrong {
		wrong = append(wrong, w.Key)
	}
	if diff := cmp.Diff([]string{"spark.mesos.coarse", "spark.mesos.coarse.shutdownTimeout", "spark.mesos.containerizer",
		"spark.mesos.executor.memoryOverhead", "spark.mesos.extra.cores", "spark.mesos.gpus.max"}, wrong); diff != "" {
		t.Error(diff)
	}
	if !cmp.Equal(got.Unknown, []string{"spark.mesos.coarze", "spark.mesos.dispatcher.driverProperty.spark.x"}) || !cmp.Equal(got.Unread, []string{"spark.mesos.maxDrivers"}) {
		t.Errorf("got %+v", got)
	}
	if msg := got.Wrong[4].Error(); !strings.Contains(msg, "spark.mesos.extra.cores") || !strings.Contains(msg, `"-1"`) || !strings.Contains(msg, "0 or more") {
		t.Error(msg)
	}
}

func TestRemarksNameKeysThatAreUnknownOrReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		readers Readers
		text    string // that the remark contains; empty: there is none
	}{
		"spark.mesos.drivre.labels":                     {drivers, "is spark.mesos.driver.labels meant?"},
		"spark.mesos.maxdriver":                         {Dispatcher, "is spark.mesos.maxDrivers meant?"},
		"spark.mesos.whatever":                          {Dispatcher, "is it misspelt?"},
		"spark.deploy.recoveryMode":                     {Dispatcher | WebUI, "replicate"},
		"spark.deploy.zookeeper.url":                    {Dispatcher | WebUI, "ha-dispatcher migrate"},
		"spark.mesos.dispatcher.driverProperty.spark.x": {Dispatcher | WebUI, "spark.mesos.dispatcher.driverDefault."},
		"spark.ssl.mesos.enabled":                       {Dispatcher | WebUI, "--webui-cert"},
		"spark.ui.filters":                              {Dispatcher | WebUI, "proxy"},
		"spark.storage.blockManagerSlaveTimeoutMs":      {drivers, "spark.storage.blockManagerHeartbeatTimeoutMs"},
		"spark.executor.port":                           {drivers, "spark.blockManager.port"},
		"spark.yarn.driver.memoryOverhead":              {drivers, "spark.driver.memoryOverhead"},
		"spark.port.maxRetries":                         {drivers, ""}, // Spark's own services use it
		"spark.other":                                   {drivers | Dispatcher, ""},
		"spark.mesos.role":                              {Dispatcher, ""},
	} {
		got := Check(New(map[string]string{name: "1"}), c.readers).Remarks()
		if c.text == "" && len(got) != 0 || c.text != "" && (len(got) != 1 || got[0].Key != name || !strings.Contains(got[0].Text, c.text)) {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, r := range Replacements() {
		if _, known := FindKey(r.Key); known || r.Readers == 0 || r.Instead == "" {
			t.Errorf("%+v", r)
		}
	}
	many := map[string]string{}
	for i := range 10_000 {
		many[fmt.Sprintf("spark.mesos.maxDriverz%d", i)] = ""
	}
	if got := Check(New(many), Submission).Remarks(); len(got) != len(many) { // in no time
		t.Errorf("%d remarks", len(got))
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "xbc", 1}, {"abc", "abcd", 1}, {"abc", "xyz", 3}, {"abcdef", "a", 3}} {
		if got := edits(c.a, c.b, 3); got != c.want {
			t.Errorf("%s to %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestADefaultOfTheDriversIsCheckedAsWhatItStandsFor(t *testing.T) {
	got := Check(New(map[string]string{
		"spark.mesos.dispatcher.driverDefault.spark.mesos.coarse":        "maybe",
		"spark.mesos.dispatcher.driverDefault.spark.mesos.containerizer": "mesos",
		"spark.mesos.dispatcher.driverDefault.spark.foo":                 "anything",
	}), Dispatcher)
	if len(got.Wrong) != 1 || got.Wrong[0].Key != "spark.mesos.dispatcher.driverDefault.spark.mesos.coarse" || !strings.Contains(got.Wrong[0].Error(), "true") {
		t.Errorf("%+v", got)
	}
}

func TestRedactHidesByKeyAndByValue(t *testing.T) {
	got := Redact(DefaultRedaction, map[string]string{
		"spark.mesos.secret": "x", "spark.hadoop.fs.s3a.access.key": "y", "spark.MyToken": "z", "spark.accessKey": "k",
		"spark.a": "-Dpassword=1", "spark.ok": "fine",
	})
	for k, v := range got {
		if (v == RedactedText) == (k == "spark.ok") {
			t.Errorf("%s=%s", k, v)
		}
	}
	if RedactValue(regexp.MustCompile(""), "secret", "x") != "x" || RedactValue(nil, "secret", "x") != "x" {
		t.Error("an empty pattern must hide nothing")
	}
	e := &ValueError{Key: "spark.mesos.driver.secret.values", Value: "hunter2", Allowed: "x"}
	if strings.Contains(e.Error(), "hunter2") {
		t.Error(e)
	}
}

func TestRedactionReadsTheProperty(t *testing.T) {
	re, err := Redaction(New(map[string]string{RedactionKey: "(?i)private"}))
	if err != nil || !re.MatchString("PRIVATE") {
		t.Error(re, err)
	}
	if _, err := Redaction(New(map[string]string{RedactionKey: "(?<!x)y"})); err == nil {
		t.Error("look-behind accepted")
	}
	if re, _ := Redaction(Conf{}); re != DefaultRedaction {
		t.Error("default")
	}
}

func FuzzRedactionShortCut(f *testing.F) {
	for _, s := range []string{"secret", "PASSWORD", "my.token", "access.key", "accesskey", "acc", "\u017fecret", "to\u212Aen", "spark.app.name"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := matches(DefaultRedaction, s), DefaultRedaction.MatchString(s); got != want {
			t.Fatalf("%q: %v, the pattern says %v", s, got, want)
		}
	})
}
