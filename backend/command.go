package backend

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// JavaModuleOptions are what Java 17 needs to run Spark 3.3 and later. A Spark
// context puts them in front of `spark.executor.extraJavaOptions` by itself;
// properties that come from elsewhere lack them.
const JavaModuleOptions = "-XX:+IgnoreUnrecognizedVMOptions " +
	"--add-opens=java.base/java.lang=ALL-UNNAMED " +
	"--add-opens=java.base/java.lang.invoke=ALL-UNNAMED " +
	"--add-opens=java.base/java.lang.reflect=ALL-UNNAMED " +
	"--add-opens=java.base/java.io=ALL-UNNAMED " +
	"--add-opens=java.base/java.net=ALL-UNNAMED " +
	"--add-opens=java.base/java.nio=ALL-UNNAMED " +
	"--add-opens=java.base/java.util=ALL-UNNAMED " +
	"--add-opens=java.base/java.util.concurrent=ALL-UNNAMED " +
	"--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED " +
	"--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED " +
	"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED " +
	"--add-opens=java.base/sun.nio.cs=ALL-UNNAMED " +
	"--add-opens=java.base/sun.security.action=ALL-UNNAMED " +
	"--add-opens=java.base/sun.util.calendar=ALL-UNNAMED " +
	"--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED " +
	"-Djdk.reflect.useDirectMethodHandle=false"

// ExecutorSpec says as what an executor is to run.
type ExecutorSpec struct {
	AppID      string // the framework id, which is Spark's application id
	ExecutorID string // the task id
	Host       string // of the agent, as the offer names it
	Cores      int64  // to tell Spark, extra cores included
	HeapMiB    int64  // 0: the application's
	Profile    uint32 // 0: the default resource profile
}

// CommandBuilder makes the command of an executor.
type CommandBuilder func(ExecutorSpec) (*mesos.CommandInfo, error)

const executorClass = "org.apache.spark.executor.CoarseGrainedExecutorBackend"

// Command makes the command that Spark's coarse-grained backend makes.
func (s *Settings) Command(e ExecutorSpec) (*mesos.CommandInfo, error) {
	variables, err := s.environment(e)
	if err != nil {
		return nil, err
	}
	value, uris, err := s.coarseCommandLine()
	if err != nil {
		return nil, err
	}
	value += s.arguments(e)
	return &mesos.CommandInfo{
		Value: &value, URIs: append(uris, mesosutil.FetchURIs(s.conf.List("spark.mesos.uris"), s.cache)...),
		Environment: &mesos.Environment{Variables: variables},
	}, nil
}

const (
	uriKey  = "spark.executor.uri"
	homeKey = "spark.mesos.executor.home"
)

// libraryPath is what stands in front of a command for
// `spark.executor.extraLibraryPath`; empty without.
func (s *Settings) libraryPath() string {
	var paths []string
	if p := s.conf.Text("spark.executor.extraLibraryPath", ""); p != "" {
		paths = append(paths, p)
	}
	return mesosutil.LibraryPathPrefix(paths)
}

// packageLine is the command that runs a class of a Spark package, and what to
// fetch for it; empty where no package is named.
func (s *Settings) packageLine(class string, cache bool) (string, []mesos.CommandInfo_URI, error) {
	uri := strings.TrimSpace(s.conf.Text(uriKey, s.context.ExecutorURI))
	if uri == "" {
		return "", nil, nil
	}
	if base := mesosutil.PackageBaseName(uri); base == "" || base[0] == '-' {
		return "", nil, &InvalidError{Key: uriKey, Value: uri, Reason: "the file name of the Spark package does not start with a name to change into"}
	}
	line := mesosutil.EnterPackage(uri) + "; " + s.libraryPath() + " ./bin/spark-class " + class
	return line, mesosutil.FetchURIs([]string{uri}, cache), nil
}

// coarseCommandLine is the command without its arguments, and the package to fetch.
func (s *Settings) coarseCommandLine() (string, []mesos.CommandInfo_URI, error) {
	line, uris, err := s.packageLine(executorClass, s.cache)
	if line != "" || err != nil {
		return line, uris, err
	}
	home := s.conf.Text(homeKey, s.context.SparkHome)
	if home == "" {
		return "", nil, &InvalidError{Key: homeKey, Reason: "Executor Spark home `spark.mesos.executor.home` is not set!"}
	}
	script := `"` + strings.TrimSuffix(path.Clean(home), "/") + `/./bin/spark-class"`
	if mesosutil.ShellEscape(script) != script {
		return "", nil, &InvalidError{Key: homeKey, Value: home, Reason: "a path in double quotes must not end them or run a command"}
	}
	return s.libraryPath() + " " + script + " " + executorClass, nil, nil
}

func (s *Settings) arguments(e ExecutorSpec) string {
	esc := mesosutil.ShellEscape
	cores := " --cores " + strconv.FormatInt(e.Cores, 10)
	named := s.container.Network != ""
	line := " --driver-url " + esc(s.DriverURL) + " --executor-id " + esc(e.ExecutorID)
	if strings.HasPrefix(s.context.SparkVersion, "2.") {
		host := e.Host
		if named { // the container has an address of its own
			host = "0.0.0.0"
		}
		return line + " --hostname " + esc(host) + cores + " --app-id " + esc(e.AppID)
	}
	line += cores + " --app-id " + esc(e.AppID)
	if !named { // SPARK-28778
		line += " --hostname " + esc(e.Host)
	}
	if e.Profile != 0 {
		line += " --resourceProfileId " + strconv.FormatUint(uint64(e.Profile), 10)
	}
	return line
}

func (s *Settings) environment(e ExecutorSpec) ([]mesos.Environment_Variable, error) {
	out, err := s.variables(e)
	if err != nil {
		return nil, err
	}
	secrets, err := s.secrets.Environment()
	return append(out, secrets...), invalid(err, "")
}

// variables are those that are no secrets.
func (s *Settings) variables(e ExecutorSpec) ([]mesos.Environment_Variable, error) {
	var out []mesos.Environment_Variable
	add := func(name, value string) { out = append(out, mesos.Environment_Variable{Name: name, Value: &value}) }
	if path, set := s.conf.Lookup("spark.executor.extraClassPath"); set {
		add("SPARK_EXECUTOR_CLASSPATH", path)
	}
	options := strings.TrimSpace(s.conf.Text("spark.executor.defaultJavaOptions", "") + " " + s.conf.Text("spark.executor.extraJavaOptions", ""))
	add("SPARK_EXECUTOR_OPTS", strings.NewReplacer("{{APP_ID}}", e.AppID, "{{EXECUTOR_ID}}", e.ExecutorID).Replace(options))
	env := s.executorEnv(e)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, &InvalidError{Key: "spark.executorEnv." + name, Reason: "this is no name of an environment variable"}
		}
		add(name, env[name])
	}
	return out, nil
}

// executorEnv is what a Spark context gives to all of its executors.
func (s *Settings) executorEnv(e ExecutorSpec) map[string]string {
	heap := e.HeapMiB
	if heap == 0 {
		heap = s.HeapMiB
	}
	env := map[string]string{"SPARK_EXECUTOR_MEMORY": strconv.FormatInt(heap, 10) + "m"}
	if !strings.HasPrefix(s.context.SparkVersion, "2.") {
		env["OMP_NUM_THREADS"] = s.conf.Text("spark.task.cpus", "1")
	}
	maps.Copy(env, s.conf.Prefixed("spark.executorEnv."))
	if s.User != "" {
		env["SPARK_USER"] = s.User
	}
	return env
}

// task builds the Mesos task of a launch.
func (s *Settings) task(l *Launch, agentID, host, appID string, build CommandBuilder) (mesos.TaskInfo, error) {
	id := strconv.FormatUint(l.Number, 10)
	command, err := build(ExecutorSpec{
		AppID: appID, ExecutorID: id, Host: host, Cores: l.Cores + s.ExtraCores, HeapMiB: l.HeapMiB, Profile: l.Profile,
	})
	if err != nil {
		return mesos.TaskInfo{}, err
	}
	volumes, err := s.secrets.Volumes()
	if err != nil {
		return mesos.TaskInfo{}, invalid(err, "")
	}
	container := s.container.Info()
	container.Volumes = append(container.Volumes, volumes...)
	return mesos.TaskInfo{
		Name: s.AppName + " " + id, TaskID: mesos.TaskID{Value: id}, AgentID: mesos.AgentID{Value: agentID},
		Resources: l.Resources, Command: command, Container: container, Labels: &mesos.Labels{Labels: s.labels},
	}, nil
}
