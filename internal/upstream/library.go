package upstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

//go:embed source/mesosjava.cpp
var source []byte

// parts are what a dispatcher is made of.
type parts struct {
	spark    *sparkfixture.Spark
	javaHome string
	library  string // the native side of the Java binding
}

// build finds or builds the parts.
func build(ctx context.Context) (*parts, error) {
	mesos, err := realmesos.Build(ctx)
	if err != nil {
		return nil, err
	}
	spark, err := sparkfixture.Find(ctx, sparkfixture.Version3)
	if err != nil {
		return nil, err
	}
	p := &parts{spark: spark}
	for _, variable := range spark.Env() {
		if home, found := strings.CutPrefix(variable, "JAVA_HOME="); found {
			p.javaHome = home
		}
	}
	// The library names the place of libmesos, so that is part of what it is.
	sum := sha256.Sum256(append(source, mesos.Dir()...))
	dir, err := fixture.CacheDir("upstream-" + hex.EncodeToString(sum[:6]))
	if err != nil {
		return nil, err
	}
	unlock, err := fixture.Lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	p.library = filepath.Join(dir, "libmesosjava.so")
	if _, err = os.Stat(p.library); errors.Is(err, fs.ErrNotExist) {
		err = p.compile(ctx, dir, filepath.Join(mesos.Dir(), "lib"))
	}
	return p, err
}

func (p *parts) compile(ctx context.Context, dir, libmesos string) error {
	scratch, err := fixture.Scratch(dir)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	code, made := filepath.Join(scratch, "mesosjava.cpp"), filepath.Join(scratch, "libmesosjava.so")
	if err := os.WriteFile(code, source, 0o644); err != nil {
		return err
	}
	include := filepath.Join(p.javaHome, "include")
	cmd := fixture.Command(ctx, "g++", "-O1", "-std=c++17", "-Wall", "-pthread", "-fPIC", "-shared",
		"-I"+include, "-I"+filepath.Join(include, "linux"), "-o", made, code,
		"-L"+libmesos, "-l:libmesos.so", "-l:libpython2.7-stub.so",
		"-Wl,--disable-new-dtags", "-Wl,-rpath,"+libmesos, "-Wl,-rpath-link,"+libmesos)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("upstream: compile the native side of the Java binding: %w\n%s", err, log.Bytes())
	}
	// Only a whole one gets the name that the next caller looks for.
	return os.Rename(made, p.library)
}
