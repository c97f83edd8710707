package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const mostLines = 400

// longFiles are exempt from mostLines, with the reason.
var longFiles = map[string]string{}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// skipAllowed are the functions in which a test may be skipped: those that
// decide, by HA_DISPATCHER_REQUIRE, whether a fixture may be missing.
var skipAllowed = regexp.MustCompile(`^[Rr]equire`)

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// eachGoFile visits the Go files of this module, by path from its root.
func eachGoFile(t *testing.T, visit func(path string, content []byte)) {
	t.Helper()
	root := moduleRoot(t)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, path)
		visit(short, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreShort(t *testing.T) {
	seen := make(map[string]bool)
	eachGoFile(t, func(path string, content []byte) {
		lines := bytes.Count(content, []byte("\n"))
		if strings.HasSuffix(path, "_test.go") || generated.Match(content) || lines <= mostLines {
			return
		}
		if seen[path] = true; longFiles[path] == "" {
			t.Errorf("%s has %d lines, more than %d: split it by purpose, or give a reason in longFiles", path, lines, mostLines)
		}
	})
	for path := range longFiles {
		if !seen[path] {
			t.Errorf("%s is in longFiles but not long", path)
		}
	}
}

func TestOnlyRequireSkips(t *testing.T) {
	eachGoFile(t, func(path string, content []byte) {
		file, err := parser.ParseFile(token.NewFileSet(), path, content, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || skipAllowed.MatchString(function.Name.Name) {
				continue
			}
			ast.Inspect(function, func(node ast.Node) bool {
				if call, ok := node.(*ast.CallExpr); ok && isSkip(call) {
					t.Errorf("%s: %s skips a test: only a Require function may, which fails where HA_DISPATCHER_REQUIRE insists",
						path, function.Name.Name)
				}
				return true
			})
		}
	})
}

func isSkip(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	receiver, ok := selector.X.(*ast.Ident)
	if !ok {
		return false
	}
	switch selector.Sel.Name {
	case "Skip", "Skipf", "SkipNow":
		switch receiver.Name {
		case "t", "b", "f", "tb":
			return true
		}
	case "Short":
		return receiver.Name == "testing"
	}
	return false
}

func TestPins(t *testing.T) {
	for _, pin := range []struct{ file, want, why string }{
		{"go.mod", "github.com/hashicorp/go-metrics v0.5.4",
			"from v0.7.0 on there is no compat package, which raft v1.7.3 and raft-boltdb import"},
		{"go.mod", "github.com/gogo/protobuf v1.3.2", "mesos-go alone would select 1.1.1, see CVE-2021-3121"},
		{"Makefile", "-tags=hashicorpmetrics", "without it hashicorp/raft's metrics never reach Prometheus"},
		{".golangci.yml", "build-tags: [hashicorpmetrics]", "the linter must see what is built"},
		{"tools/go.mod", "github.com/golangci/golangci-lint/v2 v2.", "the linter is pinned"},
		{".ci/run", "make test", "CI runs what everybody can run"},
	} {
		content, err := os.ReadFile(filepath.Join(moduleRoot(t), pin.file))
		if err != nil {
			t.Error(err)
		} else if !bytes.Contains(content, []byte(pin.want)) {
			t.Errorf("%s lacks %q: %s", pin.file, pin.want, pin.why)
		}
	}
}

func TestNoModuleIsReplaced(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(moduleRoot(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^\s*replace\b`).Match(content) {
		t.Error("go.mod replaces a module: importers of this library would not get the replacement")
	}
}
