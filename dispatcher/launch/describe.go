package launch

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Limits on a submission.
const (
	// MaxSubmissionSize is the largest sum, in bytes, of all texts of a
	// submission.
	MaxSubmissionSize = 512 << 10
	// MaxCommandLength is the longest command line, and the longest
	// environment variable, in bytes. Linux starts no process with a single
	// argument or variable of 128 KiB; agents add a little to it.
	MaxCommandLength = 120 << 10

	minCores      = 0.01 // Mesos refuses less
	maxCores      = 1 << 20
	defaultMemory = 1 << 30
	maxMemoryMiB  = math.MaxInt32
	maxGPUs       = 1 << 10
)

// Describe checks a submission and returns what is to be stored of it. Every
// reason for which a launch could fail later is looked for here; the error is
// an *InvalidError. Warnings are for properties that have no effect: unknown
// `spark.mesos.*` keys, keys only a dispatcher's own configuration may hold,
// secrets without a destination.
//
// Neither s nor its maps and slices are kept.
func Describe(defaults DispatcherConf, s Submission) (*Description, []Warning, error) {
	if err := checkTexts(s); err != nil {
		return nil, nil, err
	}
	conf := sparkconf.New(s.Properties)
	report := sparkconf.Check(conf, sparkconf.Submission|sparkconf.Application)
	if len(report.Wrong) > 0 {
		return nil, nil, invalid(report.Wrong[0], "")
	}
	d := &Description{
		Name:               firstText(conf.Text(KeyAppName, ""), s.MainClass),
		AppResource:        s.AppResource,
		MainClass:          s.MainClass,
		Args:               append([]string(nil), s.Args...),
		Environment:        sortedKV(s.Environment),
		Properties:         sortedKV(s.Properties),
		ClientSparkVersion: s.ClientSparkVersion,
		Command:            conf.Text(KeyCommand, ""),
		Queue:              firstText(conf.Text(KeyQueue, ""), DefaultQueue),
		Constraints:        conf.Text(KeyConstraints, ""),
	}
	steps := []func(sparkconf.Conf) error{d.checkIdentity, d.readNumbers, d.readMemory, checkClientNumbers, d.readPorts}
	for _, step := range steps {
		if err := step(conf); err != nil {
			return nil, nil, invalid(err, "")
		}
	}
	if _, ok := defaults.Priority(d.Queue); !ok {
		return nil, nil, &InvalidError{Key: KeyQueue, Value: d.Queue, Reason: "this queue is not declared by the dispatcher (" + queuePrefix + "<name>)"}
	}
	if err := d.tryTask(defaults, conf); err != nil {
		return nil, nil, err
	}
	notes := warnings(conf, report)
	if d.GPUs > 0 && !defaults.GPUs {
		notes = append(notes, Warning{KeyDriverGPUs, "the dispatcher's own " + keyGPUsMax + " is 0, so Mesos offers it no GPUs " +
			"(unless the master runs with --filter_gpu_resources=false), and the driver waits"})
	}
	if b := (&builder{conf: defaults, d: d, submitted: conf}); b.agentsOwnSpark() {
		notes = append(notes, Warning{keyExecutorHome, "neither this nor " + keyExecutorURI + " nor an image is set, nor " +
			keyHome + " on the dispatcher: the driver runs with the spark-submit on the agent's PATH"})
	}
	return d, notes, nil
}

var longID = strings.Repeat("x", 256) // longer than ids get

// tryTask builds the task for an imagined place, which runs into everything
// that can go wrong at a launch.
func (d *Description) tryTask(conf DispatcherConf, submitted sparkconf.Conf) error {
	if _, err := d.Requirements(); err != nil {
		return err
	}
	_, err := build(conf, d, submitted, Placement{TaskID: longID, AgentID: longID, FrameworkID: longID})
	return err
}

func (d *Description) checkIdentity(conf sparkconf.Conf) error {
	if d.Command != "" {
		if strings.TrimSpace(d.Command) == "" {
			return &InvalidError{Key: KeyCommand, Value: d.Command, Reason: "the command is blank"}
		}
		d.Name = firstText(d.Name, "command")
		return nil
	}
	if d.Name == "" {
		return &InvalidError{Key: KeyAppName, Reason: "the application's name is missing"}
	}
	if d.AppResource == "" {
		return &InvalidError{Key: "appResource", Reason: "the application's file is missing; give a URI that agents can fetch"}
	}
	switch name := mesosutil.URIFileName(d.AppResource); name {
	case "", ".", "..":
		return &InvalidError{Key: "appResource", Value: d.AppResource, Reason: "the URI does not end with a file name"}
	}
	return nil
}

func (d *Description) readNumbers(conf sparkconf.Conf) (err error) {
	if d.Supervise, err = conf.Bool("spark.driver.supervise", false); err != nil {
		return err
	}
	if d.Cores, err = conf.Double("spark.driver.cores", 1); err != nil {
		return err
	}
	if d.Cores < minCores || d.Cores > maxCores {
		return &InvalidError{Key: "spark.driver.cores", Value: conf.Text("spark.driver.cores", ""),
			Reason: fmt.Sprintf("expected a number from %v to %d", minCores, maxCores)}
	}
	if d.GPUs, err = conf.Int(KeyDriverGPUs, 0); err != nil {
		return err
	}
	if d.GPUs < 0 || d.GPUs > maxGPUs {
		return &InvalidError{Key: KeyDriverGPUs, Value: conf.Text(KeyDriverGPUs, ""), Reason: fmt.Sprintf("expected a whole number from 0 to %d", maxGPUs)}
	}
	return nil
}

// readMemory applies the overhead once: heap + overhead is what the task asks
// for, the heap alone is what the JVM gets.
func (d *Description) readMemory(conf sparkconf.Conf) error {
	bytes, err := conf.Memory("spark.driver.memory", defaultMemory)
	if err != nil {
		return err
	}
	d.MemoryMiB = sparkconf.MiB(bytes)
	if d.MemoryMiB < 1 || d.MemoryMiB > maxMemoryMiB {
		return &InvalidError{Key: "spark.driver.memory", Value: conf.Text("spark.driver.memory", ""),
			Reason: "expected at least 1m and at most 2047t; a number without a unit counts bytes"}
	}
	factor, err := conf.Double("spark.driver.memoryOverheadFactor", mesosutil.DefaultMemoryOverheadFactor)
	if err != nil {
		return err
	}
	if factor < 0 || factor > 1000 {
		return &InvalidError{Key: "spark.driver.memoryOverheadFactor", Value: conf.Text("spark.driver.memoryOverheadFactor", ""), Reason: "expected a number from 0 to 1000"}
	}
	explicit, err := explicitOverhead(conf)
	if err != nil {
		return err
	}
	d.OverheadMiB = mesosutil.MemoryOverheadMiB(d.MemoryMiB, explicit, factor)
	return nil
}

// explicitOverhead prefers the Mesos key, which Spark applies to the container.
func explicitOverhead(conf sparkconf.Conf) (*int64, error) {
	const mesosKey, sparkKey = "spark.mesos.driver.memoryOverhead", "spark.driver.memoryOverhead"
	if _, ok := conf.Lookup(mesosKey); ok {
		v, err := conf.Int(mesosKey, 0)
		return &v, err
	}
	text, ok := conf.Lookup(sparkKey)
	if !ok {
		return nil, nil
	}
	bytes, ok := sparkconf.ParseMemoryUnit(text, "m")
	if !ok || sparkconf.MiB(bytes) > maxMemoryMiB {
		return nil, &InvalidError{Key: sparkKey, Value: text, Reason: "expected a whole number of MiB, or a size with a unit such as 1g"}
	}
	v := sparkconf.MiB(bytes)
	return &v, nil
}

// checkClientNumbers checks what is handed on to spark-submit as it is.
func checkClientNumbers(conf sparkconf.Conf) error {
	if v, err := conf.Double("spark.cores.max", 1); err != nil || v <= 0 {
		return &InvalidError{Key: "spark.cores.max", Value: conf.Text("spark.cores.max", ""), Reason: "expected a number above 0"}
	}
	_, err := conf.Memory("spark.executor.memory", 0)
	return err
}

func (d *Description) readPorts(conf sparkconf.Conf) error {
	for _, item := range conf.List(KeyDriverPorts) {
		p, err := strconv.ParseUint(item, 10, 16)
		if err != nil || p == 0 {
			return &InvalidError{Key: KeyDriverPorts, Value: item, Reason: "expected port numbers from 1 to 65535 with commas"}
		}
		for _, q := range d.Ports {
			if q == p {
				return &InvalidError{Key: KeyDriverPorts, Value: item, Reason: "this port is listed twice"}
			}
		}
		d.Ports = append(d.Ports, p)
	}
	return nil
}

// checkTexts bounds the submission and refuses what neither a command line nor
// an environment can hold.
func checkTexts(s Submission) error {
	size := 0
	check := func(key, text string) error {
		size += len(text)
		if strings.IndexByte(text, 0) >= 0 {
			return &InvalidError{Key: key, Reason: "the text has a NUL byte, which no command line can hold"}
		}
		return nil
	}
	errs := []error{check("appResource", s.AppResource), check("mainClass", s.MainClass), check("clientSparkVersion", s.ClientSparkVersion)}
	for _, a := range s.Args {
		errs = append(errs, check("appArgs", a))
	}
	for k, v := range s.Properties {
		errs = append(errs, check("sparkProperties", k), check(k, v))
	}
	for k, v := range s.Environment {
		errs = append(errs, check("environmentVariables", k), check("environmentVariables", v), checkEnvName("environmentVariables", k))
	}
	if err := errors.Join(errs...); err != nil {
		return firstInvalid(errs)
	}
	if size > MaxSubmissionSize {
		return &InvalidError{Key: "submission", Reason: fmt.Sprintf("all texts together have %d bytes, at most %d are allowed", size, MaxSubmissionSize)}
	}
	return nil
}

func firstInvalid(errs []error) error {
	var first *InvalidError
	for _, err := range errs {
		var ie *InvalidError
		// Maps are walked in no order; the least key makes the answer stable.
		if errors.As(err, &ie) && (first == nil || ie.Key < first.Key) {
			first = ie
		}
	}
	return first
}

func checkEnvName(key, name string) error {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return &InvalidError{Key: key, Value: name, Reason: `the name of an environment variable is empty or has a "="`}
	}
	return nil
}

func warnings(conf sparkconf.Conf, report sparkconf.Report) []Warning {
	var out []Warning
	for _, r := range report.Remarks() {
		out = append(out, Warning{r.Key, r.Text})
	}
	for _, key := range report.Unread {
		out = append(out, Warning{key, "only the dispatcher's own configuration is asked for this; it has no effect in a submission"})
	}
	if secrets, err := mesosutil.ParseSecrets(conf.Lookup, "driver"); err == nil && secrets.Unused() {
		out = append(out, Warning{secrets.Prefix + "envkeys", "the driver's secrets have no destination; set this or " + secrets.Prefix + "filenames"})
	}
	return out
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
