package sparkconf

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJavaProperties(t *testing.T) {
	for options, want := range map[string]map[string]string{
		"":                                            {},
		"-Xmx1g -Dother=1 -verbose":                   {},
		"-Dspark.a=1 -Dspark.b=2":                     {"spark.a": "1", "spark.b": "2"},
		"\t-Dspark.a=1\n -Dspark.a=2 ":                {"spark.a": "2"},
		`-Dspark.a="x y"  '-Dspark.b=p "q" r'`:        {"spark.a": "x y", "spark.b": `p "q" r`},
		`"-Dspark.a=k=v" -Dspark.b`:                   {"spark.a": "k=v", "spark.b": ""},
		`-Dspark.a=x\ y -Dspark.b="\"" -Dspark.c='\'`: {"spark.a": "x y", "spark.b": `"`, "spark.c": `\`},
		`-Dspark.a=""`:                                {"spark.a": ""},
		`-Dspark.a=é\`:                                {"spark.a": `é\`},
	} {
		got, err := JavaProperties(options)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %q, %v", options, got, err)
		}
	}
	for _, options := range []string{`-Dspark.a="x`, `'`, `-Dspark.a='it\'` + `s"`} {
		if got, err := JavaProperties(options); !errors.Is(err, ErrUnclosedQuote) {
			t.Errorf("%q: %q, %v", options, got, err)
		}
	}
}

func FuzzJavaProperties(f *testing.F) {
	f.Add(`-Dspark.a="x y" '-Dspark.b' \`)
	f.Fuzz(func(t *testing.T, options string) {
		_, _ = JavaProperties(options)
	})
}
