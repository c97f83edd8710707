package sparkconf

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePropertiesSyntax(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want map[string]string
	}{
		"separators":         {"spark.a=1\nspark.b:2\nspark.c 3\nspark.d = 4\nspark.e\t:\t5\n", map[string]string{"spark.a": "1", "spark.b": "2", "spark.c": "3", "spark.d": "4", "spark.e": "5"}},
		"comments, blanks":   {"# spark.x=1\n  ! spark.y=2\n\n   \t\n  spark.a=1  \n", map[string]string{"spark.a": "1"}},
		"only spark keys":    {"key=1\nsparkx=2\nspark.a=3\n", map[string]string{"spark.a": "3"}},
		"continuation":       {"spark.a=one,\\\n   two,\\\r\n\tthree\nspark.b=2", map[string]string{"spark.a": "one,two,three", "spark.b": "2"}},
		"no continuation":    {"spark.a=x\\\\\nspark.b=2", map[string]string{"spark.a": `x\`, "spark.b": "2"}},
		"comment continues":  {"spark.a=1\\\n# not a comment", map[string]string{"spark.a": "1# not a comment"}},
		"escapes":            {`spark.a=\t x\n\u00e9\u4E2D\uD83D\uDE00\q\:`, map[string]string{"spark.a": "x\né中😀q:"}},
		"escaped separators": {`spark.a\=b\ c\:d=1`, map[string]string{"spark.a=b c:d": "1"}},
		"value with =":       {"spark.driver.extraJavaOptions=-Da=b -Dc:d", map[string]string{"spark.driver.extraJavaOptions": "-Da=b -Dc:d"}},
		"last wins":          {"spark.a=1\rspark.a=2", map[string]string{"spark.a": "2"}},
		"no value":           {"spark.a\nspark.b=\n", map[string]string{"spark.a": "", "spark.b": ""}},
		"utf-8 and BOM":      {"\ufeffspark.a=中", map[string]string{"spark.a": "中"}},
		"backslash at end":   {`spark.a=1\`, map[string]string{"spark.a": "1"}},
		"lone surrogate":     {`spark.a=\ud83dx`, map[string]string{"spark.a": "\ufffdx"}},
		"empty":              {"", map[string]string{}},
	} {
		got, err := ParseProperties(strings.NewReader(tc.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestParsePropertiesNamesTheLine(t *testing.T) {
	var se *SyntaxError
	_, err := ParseProperties(strings.NewReader("spark.a=1\n\nspark.b=x\\\n\\u12g4\n"))
	if !errors.As(err, &se) || se.Line != 3 {
		t.Errorf("got %v", err)
	}
	if _, err := ParseProperties(strings.NewReader(strings.Repeat("#", MaxPropertiesSize+1))); !errors.Is(err, ErrPropertiesTooLarge) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseProperties(f *testing.F) {
	for _, s := range []string{"spark.a=1", "spark.a\\\n=2", `spark.\u0041=\`, "# x", "\\\\\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseProperties(strings.NewReader(s))
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) || se.Line < 1 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		for k := range got {
			if !strings.HasPrefix(k, "spark.") {
				t.Fatalf("%q: kept %q", s, k)
			}
		}
	})
}
