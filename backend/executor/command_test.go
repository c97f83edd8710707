package executor_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/backend/executor"
)

func TestParseCommand(t *testing.T) {
	for data, wrong := range map[string]string{
		`{"argv":["date"]}`: "",
		`{"shell":"date","env":{"A":""},"timeout":"1h30m"}`: "",
		``:                                "want JSON",
		`date`:                            "want JSON",
		`{}`:                              "one of argv and shell",
		`{"argv":[]}`:                     "one of argv and shell",
		`{"argv":["a"],"shell":"b"}`:      "one of argv and shell",
		`{"argv":[""]}`:                   "first word",
		`{"argv":["a"],"cmd":"b"}`:        "unknown field",
		`{"argv":["a"]} {}`:               "something follows",
		`{"argv":["a\u0000b"]}`:           "NUL",
		`{"shell":"a","env":{"":"x"}}`:    "no variable",
		`{"shell":"a","env":{"A=B":"x"}}`: "no variable",
		`{"shell":"a","timeout":"soon"}`:  "timeout",
		`{"shell":"a","timeout":"-1s"}`:   "timeout",
		`{"shell":"a","timeout":"9000h"}`: "timeout",
		`{"shell":"` + strings.Repeat("a", 1<<20) + `"}`:      "at most 1048576",
		`{"argv":["a"` + strings.Repeat(`,"a"`, 10000) + `]}`: "more than 10000",
	} {
		_, err := executor.ParseCommand([]byte(data))
		short := data[:min(len(data), 60)]
		switch {
		case wrong == "" && err != nil:
			t.Errorf("%s: %v", short, err)
		case wrong != "" && (!errors.Is(err, executor.ErrCommand) || !strings.Contains(err.Error(), wrong)):
			t.Errorf("%s: %v, want %q", short, err, wrong)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(`{"argv":["date"],"timeout":"1s"}`))
	f.Add([]byte(`{"shell":"x","env":{"A":"b"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := executor.ParseCommand(data)
		if err != nil {
			if !errors.Is(err, executor.ErrCommand) {
				t.Fatal(err)
			}
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := executor.ParseCommand(again); err != nil {
			t.Fatalf("%s became %s: %v", data, again, err)
		}
	})
}
