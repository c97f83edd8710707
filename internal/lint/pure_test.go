package lint

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The replicated core; its generated messages have no behaviour of their own.
const core = Module + "/fsm"

func TestReplicatedCoreIsPure(t *testing.T) {
	found, err := Impurities(t.Context(), core)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range found {
		t.Errorf("fsm/%s", line)
	}
}

// Protobuf writes map fields in random order unless told otherwise.
func TestReplicatedFormatsHaveNoMaps(t *testing.T) {
	root := moduleRoot(t)
	files, err := filepath.Glob(filepath.Join(root, "fsm", "fsmpb", "*.proto"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no .proto file in fsm/fsmpb (%v)", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for number, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "map<") {
				t.Errorf("%s:%d: %s: use a repeated message in a fixed order", file, number+1, strings.TrimSpace(line))
			}
		}
	}
}

func TestImpuritiesAreFound(t *testing.T) {
	for rule, tc := range map[string]struct{ imports, body, want string }{
		"clock":                 {`"time"`, `_ = time.Now()`, "the clock"},
		"clock under a name":    {`clock "time"`, `_ = clock.Since`, "the clock"},
		"duration is no clock":  {`"time"`, `_ = time.Second`, ""},
		"method of same name":   {`"time"`, `_ = time.Time{}.Local()`, ""},
		"randomness":            {`_ "math/rand/v2"`, ``, "imports math/rand/v2"},
		"files":                 {`_ "os"`, ``, "imports os"},
		"network":               {`_ "net/http"`, ``, "imports net/http"},
		"goroutine":             {``, `go func() {}()`, "goroutine"},
		"map range":             {``, `for range map[int]int{} { }`, "iterates over a map"},
		"named map type":        {``, `type m map[int]int; for k := range (m{}) { _ = k }`, "iterates over a map"},
		"map keys":              {`"maps"`, `_ = maps.Keys(map[int]int{})`, "iterates over a map"},
		"slice range":           {``, `for range []int{} { }`, ""},
		"map range with reason": {``, "//lint:ordered only counts\n\tfor range map[int]int{} { }", ""},
		"reason missing":        {``, "//lint:ordered\n\tfor range map[int]int{} { }", "iterates over a map"},
	} {
		t.Run(rule, func(t *testing.T) {
			source := "package p\n"
			if tc.imports != "" {
				source += "import " + tc.imports + "\n"
			}
			source += "func f() {\n\t" + tc.body + "\n}\n"
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			found, err := impurities("p", fset, []*ast.File{file}, importer.ForCompiler(fset, "source", nil))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(found, "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("found %q, want %q in\n%s", got, tc.want, source)
			}
		})
	}
}
