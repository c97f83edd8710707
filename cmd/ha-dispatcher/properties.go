package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// propertyFlags say where the spark.* properties of a daemon come from.
type propertyFlags struct {
	file string
	conf []string
}

const (
	propertiesUsage = "file of spark.* properties (default $SPARK_CONF_DIR or $SPARK_HOME/conf, spark-defaults.conf)"
	confUsage       = "property KEY=VALUE; goes before the properties file"
)

// load reads the properties in upstream's order: --conf, then the JVM options
// of the daemon, then the file. Only spark.* keys count. path is the file that
// was read, or empty.
func (f *propertyFlags) load() (_ sparkconf.Conf, path string, err error) {
	path = f.file
	if path == "" {
		path = defaultProperties()
	}
	props, err := readProperties(path)
	if err != nil {
		return sparkconf.Conf{}, path, err
	}
	system, err := sparkconf.JavaProperties(os.Getenv("SPARK_DAEMON_JAVA_OPTS"))
	if err != nil {
		return sparkconf.Conf{}, path, usageError("SPARK_DAEMON_JAVA_OPTS: %w", err)
	}
	over := make(map[string]string)
	for _, kv := range f.conf {
		k, v, found := strings.Cut(kv, "=")
		if !found {
			return sparkconf.Conf{}, path, usageError("--conf %s: KEY=VALUE is wanted", kv)
		}
		if strings.HasPrefix(k, "spark.") {
			over[k] = v
		}
	}
	return sparkconf.New(props).With(system).With(over), path, nil
}

func readProperties(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("properties file %s does not exist", path)
	}
	if err != nil {
		return nil, fmt.Errorf("properties file: %w", err)
	}
	defer file.Close()
	props, err := sparkconf.ParseProperties(file)
	if err != nil {
		return nil, fmt.Errorf("properties file %s: %w", path, err)
	}
	return props, nil
}

// defaultProperties is Spark's default file where there is one.
func defaultProperties() string {
	dir := os.Getenv("SPARK_CONF_DIR")
	if dir == "" && os.Getenv("SPARK_HOME") != "" {
		dir = filepath.Join(os.Getenv("SPARK_HOME"), "conf")
	}
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, "spark-defaults.conf")
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	return path
}
