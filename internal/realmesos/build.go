package realmesos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
)

// Name is this fixture's in HA_DISPATCHER_REQUIRE.
const Name = "realmesos"

// ErrUnavailable matches with errors.Is what Build and Start return where a
// real Mesos cannot be built; the error's text says what is missing.
var ErrUnavailable = fixture.ErrUnavailable

//go:embed source
var sources embed.FS

// Programs is a built Mesos.
type Programs struct {
	dir string
}

// Dir is the directory that holds bin/mesos-master and the other programs.
func (p *Programs) Dir() string { return p.dir }

func (p *Programs) program(role string) string {
	return filepath.Join(p.dir, "bin", "mesos-"+role)
}

// required spares the later tests of a binary the wait for a registry that the
// first did not reach.
var required = sync.OnceValues(func() (*Programs, error) { return Build(context.Background()) })

// Require returns the built programs, or skips or fails the test.
func Require(t fixture.TB) *Programs {
	t.Helper()
	programs, err := required()
	fixture.Require(t, Name, err)
	return programs
}

// Build returns the programs from the cache, building them first where they are
// not there: about 5 s, 10 s where Debian packages are installed too. Processes
// and goroutines that ask at once wait for the one that builds.
func Build(ctx context.Context) (*Programs, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return nil, unavailable("the only build of libmesos is for linux/amd64", "use such a machine")
	}
	version, err := sourceHash()
	if err != nil {
		return nil, err
	}
	dir, err := fixture.CacheDir(Name + "-" + version)
	if err != nil {
		return nil, err
	}
	unlock, err := fixture.Lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()

	programs := &Programs{dir: filepath.Join(dir, "mesos")}
	if programs.verify(ctx) == nil {
		return programs, nil
	}
	if err := programs.build(ctx); err != nil {
		return nil, err
	}
	return programs, programs.verify(ctx)
}

// verify runs the master without settings, which it refuses in 30 ms: that the
// dynamic linker got so far shows that this machine, perhaps not the one that
// filled the cache, has the libraries.
func (p *Programs) verify(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, p.program("master"))
	cmd.Env = []string{}
	output, err := cmd.CombinedOutput()
	if bytes.Contains(output, []byte("LIBPROCESS_PORT")) {
		return nil
	}
	return fmt.Errorf("realmesos: %s does not run: %w: %s", p.program("master"), err, output)
}

func (p *Programs) build(ctx context.Context) error {
	scratch, err := fixture.Scratch(filepath.Dir(p.dir))
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	source, built := filepath.Join(scratch, "source"), filepath.Join(scratch, "mesos")
	if err := unpackSources(source); err != nil {
		return err
	}
	var log bytes.Buffer
	cmd := fixture.Command(ctx, "/bin/sh", filepath.Join(source, "build.sh"), built)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
	if err := cmd.Run(); err != nil {
		return buildFailure(ctx, err, log.String())
	}
	// Only a whole build gets the name that the next caller looks for.
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	return os.Rename(built, p.dir)
}

// buildFailure tells a machine that lacks something from a defect, by the exit
// status that build.sh documents.
func buildFailure(ctx context.Context, err error, log string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("realmesos: build interrupted: %w", context.Cause(ctx))
	}
	log = strings.TrimSpace(log)
	lastLine := log[strings.LastIndexByte(log, '\n')+1:]
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		switch exit.ExitCode() {
		case 10:
			return unavailable(lastLine, "run once as root with access to the Debian package registry")
		case 11:
			return unavailable(lastLine, "run once with access to PyPI")
		}
	}
	return fmt.Errorf("realmesos: build failed: %w\n%s", err, log)
}

func unavailable(missing, remedy string) error {
	return &fixture.UnavailableError{Name: Name, Missing: missing, Remedy: remedy}
}

// sourceHash names a build: changed sources make a new one.
func sourceHash() (string, error) {
	sum := sha256.New()
	err := eachSource(func(path string, content []byte) error {
		fmt.Fprintf(sum, "%s %d\n", path, len(content))
		sum.Write(content)
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil))[:12], err
}

func unpackSources(dir string) error {
	return eachSource(func(path string, content []byte) error {
		target := filepath.Join(dir, filepath.Base(path))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o755)
	})
}

func eachSource(visit func(path string, content []byte) error) error {
	return fs.WalkDir(sources, "source", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := sources.ReadFile(path)
		if err != nil {
			return err
		}
		return visit(path, content)
	})
}
