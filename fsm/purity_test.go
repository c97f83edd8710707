package fsm

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// What this package may import. There is no clock, no randomness and no I/O
// among it but the reader and writer that a snapshot is handed.
var allowed = map[string]bool{
	"bufio": true, "bytes": true, "context": true, "encoding/binary": true, "errors": true, "fmt": true,
	"hash/crc32": true, "io": true, "math": true, "slices": true, "cmp": true, "strconv": true, "strings": true, "sync": true,
	"github.com/looplab/fsm": true, "github.com/tidwall/btree": true,
	"google.golang.org/protobuf/encoding/protodelim": true, "google.golang.org/protobuf/proto": true,
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb": true,
}

// exports finds the compiled form of an import, for its types.
func exports(t *testing.T) importer.Lookup {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}

func TestApplyHasNoClockNoRandomnessNoGoroutineAndNoMapOrder(t *testing.T) {
	set := token.NewFileSet()
	packages, err := parser.ParseDir( //nolint:staticcheck // build tags do not matter here
		set, ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, f := range packages["fsm"].Files {
		files = append(files, f)
		for _, spec := range f.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); !allowed[path] {
				t.Errorf("%s: import of %s", set.Position(spec.Pos()), path)
			}
		}
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
	conf := types.Config{Importer: importer.ForCompiler(set, "gc", exports(t)), Error: func(error) {}}
	_, _ = conf.Check("fsm", set, files, info)
	loops := 0
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt:
				t.Errorf("%s: a goroutine or a select", set.Position(n.Pos()))
			case *ast.RangeStmt:
				loops++
				kind := info.TypeOf(n.X)
				if kind == nil {
					t.Errorf("%s: the type ranged over is not known", set.Position(n.Pos()))
				} else if _, isMap := kind.Underlying().(*types.Map); isMap {
					t.Errorf("%s: a range over a map", set.Position(n.Pos()))
				}
			}
			return true
		})
	}
	if loops == 0 {
		t.Error("no loop was looked at")
	}
}
