package launch

import (
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// sparkForm is how spark-submit is reached on the agent.
type sparkForm struct {
	enter      string // command that changes into Spark's directory, or ""
	prefix     string // assignments before the executable, followed by a blank, or ""
	executable string
	home       string // Spark's directory as a shell word, seen from where the command runs
	sandbox    string // where fetched files are, as shell text that may hold a variable
}

// form picks the first way that applies: docker image, executor URI, home; where
// none is given, the spark-submit that the agent finds on its PATH.
func (b *builder) form() (sparkForm, error) {
	if b.submitted.Text(mesosutil.DockerImageKey, "") != "" {
		return sparkForm{executable: "./bin/spark-submit", home: ".", sandbox: "$MESOS_SANDBOX"}, nil
	}
	if uri := b.executorURI(); uri != "" {
		base := mesosutil.PackageBaseName(uri)
		if base == "" || base[0] == '-' {
			return sparkForm{}, &InvalidError{Key: keyExecutorURI, Value: uri, Reason: "the file name of the Spark package does not start with a name to change into"}
		}
		return sparkForm{
			enter:      mesosutil.EnterPackage(uri) + "; ",
			prefix:     mesosutil.LibraryPathPrefix(b.libraryPath()) + " ",
			executable: "bin/spark-submit",
			home:       ".",
			sandbox:    "..",
		}, nil
	}
	home := firstText(b.submitted.Text(keyExecutorHome, ""), b.conf.SparkHome)
	if home == "" {
		// Spark does not launch such a driver. The agent may well know where its
		// Spark is; if not, the driver fails with the shell's own words.
		return sparkForm{executable: "spark-submit", home: "${SPARK_HOME:-.}", sandbox: "."}, nil
	}
	home = path.Clean(home)
	return sparkForm{
		executable: mesosutil.ShellPath(strings.TrimSuffix(home, "/") + "/./bin/spark-submit"),
		home:       mesosutil.ShellPath(home),
		sandbox:    ".",
	}, nil
}

// agentsOwnSpark tells whether nothing says where Spark is.
func (b *builder) agentsOwnSpark() bool {
	return b.d.Command == "" && b.submitted.Text(mesosutil.DockerImageKey, "") == "" && b.executorURI() == "" &&
		firstText(b.submitted.Text(keyExecutorHome, ""), b.conf.SparkHome) == ""
}

func (b *builder) executorURI() string {
	uri := b.submitted.Text(keyExecutorURI, "")
	if uri == "" {
		for _, e := range b.d.Environment {
			if e.Key == "SPARK_EXECUTOR_URI" {
				uri = e.Value
			}
		}
	}
	return strings.TrimSpace(uri)
}

func (b *builder) libraryPath() []string {
	var paths []string
	if b.conf.ExtraLibraryPath != "" {
		paths = append(paths, b.conf.ExtraLibraryPath)
	}
	return append(paths, b.d.LibraryPath()...)
}

// commandLine returns the text that the agent's shell runs, and the secret
// properties that have to reach it through the environment ("" if none).
func (b *builder) commandLine() (line, secrets string, err error) {
	if b.d.Command != "" {
		return b.d.Command, "", nil
	}
	f, err := b.form()
	if err != nil {
		return "", "", err
	}
	shown, hidden := b.properties()
	words := append(b.options(f), confOptions(shown)...)
	if len(hidden) > 0 {
		f.enter += writeSecrets(f)
		words = append(words, "--properties-file", f.file(secretsFile))
	}
	words = append(words, b.primaryResource(f))
	line = f.enter + f.prefix + f.executable + " " + strings.Join(words, " ") + " " + arguments(b.d.Args)
	return line, secretsText(hidden), nil
}

// options returns everything between the executable and the properties.
func (b *builder) options(f sparkForm) []string {
	esc := mesosutil.ShellEscape
	words := []string{"--name", esc(b.d.Name), "--master", esc(b.master())}
	// spark-submit since 3.2 takes whole numbers only (SPARK-39617); the
	// container's cpus hold for a fraction.
	if b.d.Cores == math.Trunc(b.d.Cores) {
		words = append(words, "--driver-cores", strconv.FormatFloat(b.d.Cores, 'f', 0, 64))
	}
	words = append(words, "--driver-memory", strconv.FormatInt(b.d.MemoryMiB, 10)+"M")
	if b.d.MainClass != "" {
		words = append(words, "--class", esc(b.d.MainClass))
	}
	if v, ok := b.submitted.Lookup("spark.executor.memory"); ok {
		words = append(words, "--executor-memory", esc(v))
	}
	if v, ok := b.submitted.Lookup("spark.cores.max"); ok {
		words = append(words, "--total-executor-cores", esc(v))
	}
	if files := b.pyFiles(f); files != "" {
		words = append(words, "--py-files", files)
	}
	return words
}

// master is where the driver registers.
func (b *builder) master() string {
	if m := firstText(b.submitted.Text(KeyDriverMaster, ""), b.conf.DriverMaster); m != "" {
		return m
	}
	return mesosScheme + b.conf.Master
}

func (b *builder) pyFiles(f sparkForm) string {
	var names []string
	for _, uri := range b.submitted.List(keyPyFiles) {
		names = append(names, f.file(mesosutil.URIFileName(uri)))
	}
	return strings.Join(names, ",")
}

// primaryResource is the application's file as the driver sees it.
func (b *builder) primaryResource(f sparkForm) string {
	if b.localInContainer() {
		return mesosutil.ShellPath(strings.TrimPrefix(b.d.AppResource, localScheme))
	}
	return f.file(mesosutil.URIFileName(b.d.AppResource))
}

// file returns the path of a fetched file as a shell word. The sandbox stays
// outside the quotes, so that a variable in it expands.
func (f sparkForm) file(name string) string {
	return f.sandbox + "/" + mesosutil.ShellEscape(name)
}

// properties returns what the driver gets, sorted by key: the dispatcher's
// defaults under the submission's properties, without what only the client or
// the dispatcher uses. hidden are those that must not stand in a command line.
func (b *builder) properties() (shown, hidden []KV) {
	for _, p := range b.layered() {
		if !handedOn(p.Key) {
			continue
		}
		if b.hideSecrets && sparkconf.RedactValue(b.conf.Redaction, p.Key, p.Value) != p.Value {
			hidden = append(hidden, p)
		} else {
			shown = append(shown, p)
		}
	}
	return shown, hidden
}

// layered returns the properties with the dispatcher's defaults under them.
func (b *builder) layered() []KV {
	if len(b.conf.DriverDefaults) == 0 {
		return b.d.Properties
	}
	return sortedKV(sparkconf.New(b.conf.DriverDefaults).With(kvMap(b.d.Properties)).Map())
}

// handedOn reports whether the driver gets to see a property. Where the client
// submitted to is of no use to it, and neither are keys that Spark does not know.
func handedOn(key string) bool {
	switch key {
	case "spark.jars", "spark.submit.deployMode", keyMaster:
		return false
	}
	if !strings.HasPrefix(key, sparkconf.MesosPrefix) {
		return true
	}
	k, known := sparkconf.FindKey(key)
	return !known || !k.Extension()
}

func confOptions(properties []KV) []string {
	words := make([]string, 0, 2*len(properties))
	for _, p := range properties {
		words = append(words, "--conf", mesosutil.ShellEscape(p.Key+"="+p.Value))
	}
	return words
}

func arguments(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = mesosutil.ShellEscape(a); a == "" {
			words[i] = `""`
		}
	}
	return strings.Join(words, " ")
}
