package lint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/ha-dispatcher/ha-dispatcher"

// Package is what go list tells of a package.
type Package struct {
	ImportPath, Dir, Export, Name string
	GoFiles                       []string
	Imports, Deps                 []string
	TestImports, XTestImports     []string
	Module                        *struct{ Path, Version string }
	Error                         *struct{ Err string }
}

// Short is the import path without the module, "." for the root.
func (p *Package) Short() string {
	if p.ImportPath == Module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, Module+"/")
}

// List runs go list -json at the root of the module with these arguments.
func List(ctx context.Context, args ...string) ([]*Package, error) {
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-e", "-tags=hashicorpmetrics",
		"-json=ImportPath,Dir,Export,Name,GoFiles,Imports,Deps,TestImports,XTestImports,Module,Error"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	var packages []*Package
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		p := new(Package)
		if err := decoder.Decode(p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
}

// Root is the directory of the module's go.mod.
func Root(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return filepath.Dir(strings.TrimSpace(string(output))), nil
}

// Within tells whether an import path is that of one of the trees or beneath it.
func Within(path string, trees ...string) bool {
	for _, tree := range trees {
		if path == tree || strings.HasPrefix(path, tree+"/") {
			return true
		}
	}
	return false
}
