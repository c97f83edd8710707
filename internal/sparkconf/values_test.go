package sparkconf

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "1048576": 1 << 20, "1k": 1 << 10, "1KB": 1 << 10, "512m": 512 << 20, "2g": 2 << 30, "2GB": 2 << 30,
		"1t": 1 << 40, "1pb": 1 << 50, " 5b ": 5,
	} {
		if got, ok := ParseMemory(text); !ok || got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "m", "-1", "+1", "1.5g", "1 g", "1x", "1mib", "9223372036854775807k", "99999999999999999999", "0x10"} {
		if got, ok := ParseMemory(text); ok {
			t.Errorf("%q accepted as %d", text, got)
		}
	}
	if got, ok := ParseMemoryUnit("100", "m"); !ok || MiB(got) != 100 {
		t.Errorf("bare number in MiB: %d, %v", got, ok)
	}
	if got := MiB(2<<20 - 1); got != 1 {
		t.Errorf("MiB does not round down: %d", got)
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"120": 120 * time.Second, "120s": 120 * time.Second, "10ms": 10 * time.Millisecond, "7us": 7 * time.Microsecond,
		"2m": 2 * time.Minute, "2MIN": 2 * time.Minute, "3h": 3 * time.Hour, "1d": 24 * time.Hour, " 1s ": time.Second,
	} {
		if got, ok := ParseTime(text, time.Second); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "s", "-1s", "1.5s", "1w", "1 s", "99999999999d"} {
		if got, ok := ParseTime(text, time.Second); ok {
			t.Errorf("%q accepted as %v", text, got)
		}
	}
	if got, _ := ParseTime("5", time.Millisecond); got != 5*time.Millisecond {
		t.Errorf("bare number in ms: %v", got)
	}
}

func TestParseNumbersBooleansLists(t *testing.T) {
	for text, want := range map[string]float64{
		"1": 1, " 0.5 ": 0.5, "-2": -2, "+2": 2, "1e3": 1000, ".5": 0.5, "5.": 5, "1.5d": 1.5, "2F": 2, "1e1f": 10, "0x1p3": 8, "0x1p3d": 8,
	} {
		if got, ok := ParseDouble(text); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "x", "NaN", "Inf", "-Infinity", "inff", "d", "1dd", "1d5", "0x1f", "0x1", "1_0", "0x_1p3", "1 d", "1,5", "1e999"} {
		if got, ok := ParseDouble(text); ok {
			t.Errorf("double %q accepted as %v", text, got)
		}
	}
	for text, want := range map[string]int64{"7": 7, "+7": 7, "-7": -7, " 7 ": 7, "007": 7} {
		if got, ok := ParseInt(text); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "1.0", "1g", "7d", "0x7", "1_0", "- 7", "9223372036854775808"} {
		if got, ok := ParseInt(text); ok {
			t.Errorf("int %q accepted as %v", text, got)
		}
	}
	for text, want := range map[string]bool{"true": true, "TRUE ": true, "False": false} {
		if got, ok := ParseBool(text); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	if _, ok := ParseBool("yes"); ok {
		t.Error("yes accepted")
	}
	if got := ParseList(" a, b ,,c,"); !cmp.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("list %q", got)
	}
	if ParseList(" , ") != nil {
		t.Error("blank list is not nil")
	}
}

func TestConfGettersReturnTheDefaultOrTheKeyAtFault(t *testing.T) {
	in := map[string]string{"i": "7", "d": "0.5", "b": "true", "t": "3", "m": "2g", "l": "x,y", "bad": "?"}
	c := New(in)
	in["i"] = "8"
	if v, err := c.Int("i", 1); v != 7 || err != nil {
		t.Error("Conf shares the caller's map", v, err)
	}
	if v, err := c.Double("d", 1); v != 0.5 || err != nil {
		t.Error(v, err)
	}
	if v, err := c.Bool("b", false); !v || err != nil {
		t.Error(v, err)
	}
	if v, err := c.Time("t", time.Minute, 0); v != 3*time.Minute || err != nil {
		t.Error(v, err)
	}
	if v, err := c.Memory("m", 0); v != 2<<30 || err != nil {
		t.Error(v, err)
	}
	if v := c.List("l"); !cmp.Equal(v, []string{"x", "y"}) {
		t.Error(v)
	}
	if v, err := c.Int("none", 42); v != 42 || err != nil {
		t.Error(v, err)
	}
	for name, err := range map[string]error{
		AllowedInt: second(c.Int("bad", 0)), AllowedDouble: second(c.Double("bad", 0)), AllowedBool: second(c.Bool("bad", false)),
		AllowedTime: second(c.Time("bad", time.Second, 0)), AllowedMemory: second(c.Memory("bad", 0)),
	} {
		var ve *ValueError
		if !errors.As(err, &ve) || ve.Key != "bad" || ve.Value != "?" || ve.Allowed != name {
			t.Errorf("got %v", err)
		}
	}
	over := c.With(map[string]string{"i": "9", "new": "1"})
	if over.Text("i", "") != "9" || c.Text("i", "") != "7" || over.Len() != c.Len()+1 {
		t.Error("With changed the original or lost something")
	}
	if got := New(map[string]string{"a.b": "1", "a.c": "2", "x": "3"}).Prefixed("a."); !cmp.Equal(got, map[string]string{"b": "1", "c": "2"}) {
		t.Error(got)
	}
	var keys []string
	for k := range New(map[string]string{"b": "", "a": "", "c": ""}).All() {
		keys = append(keys, k)
		if k == "b" {
			break
		}
	}
	if !cmp.Equal(keys, []string{"a", "b"}) {
		t.Error(keys)
	}
	var zero Conf
	if zero.Text("k", "d") != "d" || zero.Map() == nil {
		t.Error("zero Conf")
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzValues(f *testing.F) {
	for _, s := range []string{"1g", "120s", "0.5", "true", "-1", "9223372036854775807p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, ok := ParseMemory(s); ok && v < 0 {
			t.Fatalf("%q is %d bytes", s, v)
		}
		if v, ok := ParseTime(s, time.Hour); ok && v < 0 {
			t.Fatalf("%q is %v", s, v)
		}
		if v, ok := ParseDouble(s); ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
			t.Fatalf("%q is %v", s, v)
		}
		for _, k := range keyTable {
			k.Check(k.Name, s)
		}
	})
}
