package sparkfixture

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
)

const leastJDK = 17

//go:embed src/hadispatcher/SparkPi.java
var appSource []byte

// Find returns that version of Spark from the cache, downloading and compiling
// what is not there; processes and goroutines that ask at once wait for the one
// that does. The version is Version3 or Version4.
func Find(ctx context.Context, version string) (*Spark, error) {
	if version != Version3 && version != Version4 {
		return nil, fmt.Errorf("sparkfixture: unknown version %q: %s or %s", version, Version3, Version4)
	}
	javaHome, err := findJDK(ctx, version)
	if err != nil {
		return nil, err
	}
	dir, err := fixture.CacheDir("spark-" + version)
	if err != nil {
		return nil, err
	}
	unlock, err := fixture.Lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()

	sum := sha256.Sum256(appSource)
	s := &Spark{
		version:  version,
		home:     filepath.Join(dir, "home"),
		appJar:   filepath.Join(dir, "app-"+hex.EncodeToString(sum[:6])+".jar"),
		javaHome: javaHome,
	}
	if err := ifMissing(s.home, func() error { return s.download(ctx, dir) }); err != nil {
		return nil, err
	}
	if err := ifMissing(s.appJar, func() error { return s.compile(ctx, dir) }); err != nil {
		return nil, err
	}
	return s, nil
}

func ifMissing(path string, provide func() error) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return provide()
	}
	return err
}

var javaHomeLine = regexp.MustCompile(`(?m)^\s*java\.home = (.+?)\s*$`)
var javacVersion = regexp.MustCompile(`javac (\d+)`)

// findJDK returns the home of a JDK: JAVA_HOME's, else that of the javac in PATH.
func findJDK(ctx context.Context, version string) (string, error) {
	missing := func(what string) error {
		return unavailable(version, what, fmt.Sprintf(
			"install a JDK %d (Debian: apt-get install openjdk-%d-jdk-headless)", leastJDK, leastJDK))
	}
	javac := "javac"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		javac = filepath.Join(home, "bin", "javac")
	}
	output, err := exec.CommandContext(ctx, javac, "-version").CombinedOutput()
	if err != nil {
		return "", missing(fmt.Sprintf("no JDK (%v)", err))
	}
	match := javacVersion.FindSubmatch(output)
	if match == nil {
		return "", missing(fmt.Sprintf("%s does not say its version: %q", javac, output))
	}
	if major, _ := strconv.Atoi(string(match[1])); major < leastJDK {
		return "", missing(fmt.Sprintf("the JDK is version %d", major))
	}
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return home, nil
	}
	// A javac in PATH may be a shim, whose place says nothing.
	output, err = exec.CommandContext(ctx, javac, "-J-XshowSettings:properties", "-version").CombinedOutput()
	if match = javaHomeLine.FindSubmatch(output); err != nil || match == nil {
		return "", missing(fmt.Sprintf("%s does not say its home (%v)", javac, err))
	}
	return string(match[1]), nil
}

// download unpacks Spark into s.home, by way of a scratch directory: only a
// whole one gets the name that the next caller looks for.
func (s *Spark) download(ctx context.Context, dir string) error {
	scratch, err := fixture.Scratch(dir)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	const remedy = "have Python 3 with pip and tar in PATH, and PyPI within reach"
	for _, tool := range []string{"python3", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			return unavailable(s.version, "no "+tool, remedy)
		}
	}
	// The archive of a wheel has the same content, but PyPI holds no wheel.
	pip := fixture.Command(ctx, "python3", "-m", "pip", "--disable-pip-version-check",
		"download", "-q", "--no-deps", "--no-binary", "pyspark", "-d", scratch, "pyspark=="+s.version)
	if output, err := pip.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("sparkfixture: download interrupted: %w", context.Cause(ctx))
		}
		return unavailable(s.version, fmt.Sprintf("pip cannot download pyspark %s: %s",
			s.version, lastLine(output)), remedy)
	}
	root, home := "pyspark-"+s.version, filepath.Join(scratch, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	archive := filepath.Join(scratch, root+".tar.gz")
	if err := run(ctx, "tar", "-xzf", archive, "-C", home, "--strip-components=2",
		root+"/deps/bin", root+"/deps/sbin", root+"/deps/jars"); err != nil {
		return err
	}
	if err := makeRunnable(filepath.Join(home, "bin"), filepath.Join(home, "sbin")); err != nil {
		return err
	}
	// Its scripts take a home without this file for a source tree.
	if err := os.WriteFile(filepath.Join(home, "RELEASE"), nil, 0o644); err != nil {
		return err
	}
	return os.Rename(home, s.home)
}

// makeRunnable adds the mode bits that the source archive does not keep.
func makeRunnable(dirs ...string) error {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := os.Chmod(filepath.Join(dir, entry.Name()), 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Spark) compile(ctx context.Context, dir string) error {
	scratch, err := fixture.Scratch(dir)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	source, classes := filepath.Join(scratch, "SparkPi.java"), filepath.Join(scratch, "classes")
	if err := os.WriteFile(source, appSource, 0o644); err != nil {
		return err
	}
	jar := filepath.Join(scratch, "app.jar")
	bin := filepath.Join(s.javaHome, "bin")
	if err := run(ctx, filepath.Join(bin, "javac"), "--release", strconv.Itoa(leastJDK), "-nowarn", "-proc:none",
		"-cp", filepath.Join(s.home, "jars", "*"), "-d", classes, source); err != nil {
		return err
	}
	if err := run(ctx, filepath.Join(bin, "jar"), "--create", "--file", jar, "-C", classes, "."); err != nil {
		return err
	}
	return os.Rename(jar, s.appJar)
}

func run(ctx context.Context, program string, args ...string) error {
	if output, err := fixture.Command(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("sparkfixture: %s: %w\n%s", program, err, output)
	}
	return nil
}

func lastLine(output []byte) string {
	text := strings.TrimSpace(string(output))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func unavailable(version, missing, remedy string) error {
	return &fixture.UnavailableError{Name: name(version), Missing: missing, Remedy: remedy}
}
