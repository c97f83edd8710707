package launch

import (
	"slices"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// Submission is a request to run a driver, as it came in.
type Submission struct {
	AppResource        string            // URI of the jar, Python or R file
	MainClass          string            // empty for Python and R
	Args               []string          // the application's arguments
	Properties         map[string]string // Spark properties
	Environment        map[string]string // SPARK_* and MESOS_* of the client
	ClientSparkVersion string
}

// KV is one property or environment variable.
type KV struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Description is an accepted submission: what is stored of it, with the
// numbers that decide over offers already worked out. It is plain data; treat
// it as immutable. Properties and Environment are sorted by key and may hold
// secrets.
type Description struct {
	Name               string   `json:"name"`
	AppResource        string   `json:"appResource,omitempty"`
	MainClass          string   `json:"mainClass,omitempty"`
	Args               []string `json:"args,omitempty"`
	Environment        []KV     `json:"environment,omitempty"`
	Properties         []KV     `json:"properties,omitempty"`
	ClientSparkVersion string   `json:"clientSparkVersion,omitempty"`

	// Command is the shell command of a driver that is not a Spark
	// application; empty for the others.
	Command string `json:"command,omitempty"`

	Cores       float64  `json:"cores"`       // cpus, more than 0
	MemoryMiB   int64    `json:"memoryMiB"`   // heap of the driver's JVM
	OverheadMiB int64    `json:"overheadMiB"` // what the container has beside it
	GPUs        int64    `json:"gpus,omitempty"`
	Ports       []uint64 `json:"ports,omitempty"`
	Supervise   bool     `json:"supervise,omitempty"`
	Queue       string   `json:"queue"`
	Constraints string   `json:"constraints,omitempty"`
}

// Conf returns the submitted properties.
func (d *Description) Conf() sparkconf.Conf { return sparkconf.New(kvMap(d.Properties)) }

// ClassPath returns the entries of `spark.driver.extraClassPath`, for display.
func (d *Description) ClassPath() []string {
	return splitPath(d.Property("spark.driver.extraClassPath"))
}

// LibraryPath returns the entries of `spark.driver.extraLibraryPath`.
func (d *Description) LibraryPath() []string {
	return splitPath(d.Property("spark.driver.extraLibraryPath"))
}

// JavaOptions returns what Spark records as the driver's Java options, for
// display: -Dkey=value for each property, then the words of
// `spark.driver.defaultJavaOptions` and `spark.driver.extraJavaOptions`.
// They may hold secrets.
func (d *Description) JavaOptions() []string {
	out := make([]string, 0, len(d.Properties))
	for _, p := range d.Properties {
		out = append(out, "-D"+p.Key+"="+p.Value)
	}
	out = append(out, splitWords(d.Property("spark.driver.defaultJavaOptions"))...)
	return append(out, splitWords(d.Property("spark.driver.extraJavaOptions"))...)
}

// Property returns a submitted property, or "".
func (d *Description) Property(key string) string {
	for _, p := range d.Properties {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

func splitPath(text string) []string {
	var out []string
	for entry := range strings.SplitSeq(text, ":") {
		if entry != "" {
			out = append(out, entry)
		}
	}
	return out
}

// splitWords splits a command string as Spark does: at blanks, with single and
// double quotes, and a backslash inside double quotes before " and \. A quote
// that is not closed reaches to the end.
func splitWords(text string) []string {
	var (
		words []string
		word  strings.Builder
		open  bool // a word has begun, maybe an empty quoted one
		quote byte
	)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '"' && c == '\\' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\'):
			i++
			word.WriteByte(text[i])
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, open = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words
}

func sortedKV(m map[string]string) []KV {
	out := make([]KV, 0, len(m))
	for k, v := range m {
		out = append(out, KV{k, v})
	}
	slices.SortFunc(out, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func kvMap(kvs []KV) map[string]string {
	m := make(map[string]string, len(kvs))
	for _, p := range kvs {
		m[p.Key] = p.Value
	}
	return m
}
