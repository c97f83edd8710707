package lint

import (
	"context"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OrderedMark is the comment, with a reason after it, that permits iteration
// over a map on its own line and the next: because the result does not depend
// on the order.
const OrderedMark = "//lint:ordered"

// impurePackages must not be imported: what they do is I/O, randomness, or both.
var impurePackages = []string{
	"os", "net", "syscall", "math/rand", "crypto/rand", "log", "io/ioutil", "path/filepath", "embed",
	"golang.org/x/sys", "github.com/google/uuid",
}

// impureFunctions of packages that are pure otherwise.
var impureFunctions = map[string]string{
	"time.Now": "the clock", "time.Since": "the clock", "time.Until": "the clock",
	"time.Sleep": "the clock", "time.After": "the clock", "time.AfterFunc": "the clock",
	"time.Tick": "the clock", "time.NewTimer": "the clock", "time.NewTicker": "the clock",
	"time.LoadLocation": "a file", "time.Local": "the machine's time zone",
	"context.WithTimeout": "the clock", "context.WithDeadline": "the clock", "context.AfterFunc": "a goroutine",
	"fmt.Print": "I/O", "fmt.Println": "I/O", "fmt.Printf": "I/O",
	"fmt.Scan": "I/O", "fmt.Scanln": "I/O", "fmt.Scanf": "I/O",
	"hash/maphash.MakeSeed": "randomness",
	"maps.Keys":             "map order", "maps.Values": "map order", "maps.All": "map order",
	"runtime.GOMAXPROCS": "the machine", "runtime.NumCPU": "the machine",
}

// Impurities returns what in the package's files, tests aside, could make two
// nodes that apply the same log differ, one line each with its position.
func Impurities(ctx context.Context, importPath string) ([]string, error) {
	packages, err := List(ctx, "-export", "-deps", importPath)
	if err != nil {
		return nil, err
	}
	exports := make(map[string]string)
	var target *Package
	for _, p := range packages {
		exports[p.ImportPath] = p.Export
		if p.ImportPath == importPath {
			target = p
		}
	}
	if target == nil || target.Error != nil {
		return nil, fmt.Errorf("package %s does not load: %+v", importPath, target)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range target.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(target.Dir, name), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	return impurities(importPath, fset, files, importer.ForCompiler(fset, "gc", lookup))
}

func impurities(path string, fset *token.FileSet, files []*ast.File, imports types.Importer) ([]string, error) {
	info := &types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue),
		Uses:  make(map[*ast.Ident]types.Object),
	}
	config := types.Config{Importer: imports}
	if _, err := config.Check(path, fset, files, info); err != nil {
		return nil, err
	}
	var found []string
	for _, file := range files {
		walk := purityWalk{fset: fset, info: info, ordered: orderedLines(fset, file)}
		ast.Inspect(file, walk.visit)
		found = append(found, walk.found...)
	}
	return found, nil
}

// purityWalk checks one file.
type purityWalk struct {
	fset    *token.FileSet
	info    *types.Info
	ordered map[int]bool // lines on which map order is permitted
	found   []string
}

func (w *purityWalk) report(node ast.Node, format string, args ...any) {
	position := w.fset.Position(node.Pos())
	position.Filename = filepath.Base(position.Filename)
	w.found = append(w.found, position.String()+": "+fmt.Sprintf(format, args...))
}

func (w *purityWalk) visit(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.ImportSpec:
		if path, err := strconv.Unquote(n.Path.Value); err == nil && Within(path, impurePackages...) {
			w.report(n, "imports %s", path)
		}
	case *ast.GoStmt:
		w.report(n, "starts a goroutine")
	case *ast.RangeStmt:
		if _, isMap := w.info.TypeOf(n.X).Underlying().(*types.Map); isMap {
			w.mapOrder(n)
		}
	case *ast.SelectorExpr:
		w.selector(n)
	}
	return true
}

func (w *purityWalk) selector(n *ast.SelectorExpr) {
	object := w.info.Uses[n.Sel]
	if object == nil || object.Pkg() == nil || object.Parent() != object.Pkg().Scope() {
		return // a method or field
	}
	switch what := impureFunctions[object.Pkg().Path()+"."+object.Name()]; what {
	case "":
	case "map order":
		w.mapOrder(n)
	default:
		w.report(n, "uses %s.%s: %s", object.Pkg().Name(), object.Name(), what)
	}
}

func (w *purityWalk) mapOrder(n ast.Node) {
	if !w.ordered[w.fset.Position(n.Pos()).Line] {
		w.report(n, "iterates over a map: sort the keys, or say why the order does not matter: %s why", OrderedMark)
	}
}

// orderedLines are the lines with an OrderedMark and a reason, and those after.
func orderedLines(fset *token.FileSet, file *ast.File) map[int]bool {
	lines := make(map[int]bool)
	for _, group := range file.Comments {
		for _, comment := range group.List {
			reason, marked := strings.CutPrefix(comment.Text, OrderedMark)
			if marked && strings.TrimSpace(reason) != "" {
				line := fset.Position(comment.Pos()).Line
				lines[line], lines[line+1] = true, true
			}
		}
	}
	return lines
}
