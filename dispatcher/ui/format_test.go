package ui

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

func TestSpan(t *testing.T) {
	for ms, want := range map[int64]string{
		-5: "0.0 s", 0: "0.0 s", 1234: "1.2 s", 9_999: "10.0 s", 10_000: "10 s", 59_999: "59 s", 60_000: "1 min", 61_000: "1 min 1 s",
		3_600_000: "1 h", 5_400_000: "1 h 30 min", 90_000_000: "1 d 1 h", 86_400_000_000: "1000 d",
	} {
		if got := span(1000, 1000+ms); got != want {
			t.Errorf("%d ms: %q, not %q", ms, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for f, want := range map[float64]string{1: "1.0", 0.5: "0.5", 0: "0.0", 1000000: "1000000.0", 2.25: "2.25"} {
		if got := decimal(f); got != want {
			t.Errorf("%v: %q", f, got)
		}
	}
	for n, want := range map[int]string{-1: "0", 0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestTimesWithoutACalendarAreNone(t *testing.T) {
	p := newBackend(t).pages(testConfig())
	nan := 0.0
	for _, seconds := range []float64{0, -1, 1e18, nan / nan} {
		if at := p.statusTime(&fsm.Status{Timestamp: seconds}); at != (stamp{}) {
			t.Errorf("%v is %v", seconds, at)
		}
	}
	cfg := testConfig()
	cfg.Location = time.FixedZone("CET", 3600)
	if at := newBackend(t).pages(cfg).at(testStart); at.Text != "2026/11/22 12:24:17" || at.ISO != "2026-11-22T12:24:17.000+01:00" {
		t.Errorf("%+v", at)
	}
}

func TestSecretsInCommandLines(t *testing.T) {
	const hidden = sparkconf.RedactedText
	for line, want := range map[string]string{
		"":                              "",
		"a b":                           "a b",
		"--password x y":                "--password " + hidden + " y",
		"--password --verbose y":        "--password --verbose y",
		"--password=x y":                "--password=" + hidden + " y",
		"-Dmy.secret=x":                 "-Dmy.secret=" + hidden,
		"-Dx=my-token":                  "-Dx=" + hidden,
		"my-token":                      hidden,
		"k=v=w":                         "k=v=w",
		"http://h/p":                    "http://h/p",
		"http://user@h/p":               "http://user@h/p",
		"http://user:pw@h/p?q=1":        "http://" + hidden + "@h/p?q=1",
		"url=http://user:pw@h/p":        "url=http://" + hidden + "@h/p",
		"mailto:a@b :// ://@ http://%@": "mailto:a@b :// ://@ http://%@",
	} {
		got := sparkconf.RedactWords(sparkconf.DefaultRedaction, strings.Fields(line))
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: %q, not %q", line, got, want)
		}
	}
	if got := sparkconf.RedactWords(nil, []string{"--password", "x"}); got[1] != "x" {
		t.Errorf("without a pattern nothing is hidden but %q", got)
	}
}
