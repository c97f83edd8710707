package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

func TestSecretPropertiesStayOutOfTheCommandLine(t *testing.T) {
	p := props{"spark.hadoop.fs.s3a.secret.key": "hunter2", "spark.x": "y"}
	c := conf(t, props{"spark.master": "m:1", "spark.home": "/s", "spark.mesos.dispatcher.driverDefault.spark.my.password": "swordfish"})
	got := task(t, c, submission(p))
	if l := got.Command.GetValue(); strings.Contains(l, "hunter2") || strings.Contains(l, "swordfish") || !strings.Contains(l, "--properties-file ./"+secretsFile+" ./app.jar") {
		t.Error(l)
	}
	env := variables(got)
	last := env[len(env)-1]
	if last[0] != secretsVariable || last[1] != "spark.hadoop.fs.s3a.secret.key=hunter2\nspark.my.password=swordfish\n" {
		t.Errorf("%q", last)
	}
	p[KeyHideSecrets] = "false"
	if l := line(t, c, submission(p)); !strings.Contains(l, "--conf spark.hadoop.fs.s3a.secret.key=hunter2") || strings.Contains(l, "--properties-file") {
		t.Error(l)
	}
}

func TestSecretsTextIsReadBackAsItWas(t *testing.T) {
	in := props{"spark.a": "x=y:z #!", "spark.b": "new\nline\ttab\\back", "spark.c": "é中😀", `spark.k =:#!\`: "v", "spark.e": ""}
	got, err := sparkconf.ParseProperties(strings.NewReader(secretsText(sortedKV(in))))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, got); diff != "" {
		t.Error(diff)
	}
}

// A stand-in for spark-submit shows what a real shell makes of the whole
// command, in each of the three forms.
func TestCommandLinesReachSparkSubmit(t *testing.T) {
	root := t.TempDir()
	spark := filepath.Join(root, "sandbox", "spark-3.5.1")
	for _, dir := range []string{"bin", "conf"} {
		if err := os.MkdirAll(filepath.Join(spark, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\nprintf '%s\\0' \"$@\"\nls -l " + filepath.Join(root, "sandbox", secretsFile) + " >&2\n"
	write(t, filepath.Join(spark, "bin", "spark-submit"), script, 0o755)
	write(t, filepath.Join(spark, "conf", "spark-defaults.conf"), "spark.from.defaults 1\nspark.my.token old", 0o644)
	tests := map[string]struct {
		p    props
		dir  string // where the container starts
		file string // the application's file as spark-submit sees it
	}{
		"home":               {props{"spark.mesos.executor.home": spark}, "sandbox", "./app.jar"},
		"home in a variable": {props{"spark.mesos.executor.home": "$TEST_ROOT/spark-3.5.1"}, "sandbox", "./app.jar"},
		"home below ~":       {props{"spark.mesos.executor.home": "~/spark-3.5.1"}, "sandbox", "./app.jar"},
		"uri":                {props{"spark.executor.uri": "http://h/spark-3.5.1.tgz"}, "sandbox", "../app.jar"},
		"image":              {props{"spark.mesos.executor.docker.image": "i"}, "sandbox/spark-3.5.1", filepath.Join(root, "sandbox") + "/app.jar"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.p["spark.my.token"] = "hunter 2$(echo no)"
			tc.p["spark.evil"] = "a\nb;`echo no`"
			s := submission(tc.p)
			s.Args = []string{"", `"a";echo no;"b"`, "~", "two words"}
			info := task(t, conf(t, props{"spark.master": "m:1"}), s)
			cmd := exec.Command("/bin/sh", "-c", info.Command.GetValue())
			cmd.Dir = filepath.Join(root, tc.dir)
			cmd.Env = append(os.Environ(), "SPARK_CONF_DIR=",
				"MESOS_SANDBOX="+filepath.Join(root, "sandbox"), "TEST_ROOT="+filepath.Join(root, "sandbox"), "HOME="+filepath.Join(root, "sandbox"))
			for _, v := range variables(info) {
				cmd.Env = append(cmd.Env, v[0]+"="+v[1])
			}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, info.Command.GetValue(), stderr.String())
			}
			words := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
			if diff := cmp.Diff(append([]string{tc.file}, s.Args...), words[len(words)-5:]); diff != "" {
				t.Error(diff)
			}
			if !strings.HasPrefix(stderr.String(), "-rw-------") {
				t.Errorf("mode of the secrets file: %s", stderr.String())
			}
			if joined := strings.Join(words, "\n"); strings.Contains(joined, "hunter") || !strings.Contains(joined, "spark.evil=a\nb;`echo no`") {
				t.Errorf("%q", words)
			}
			f, err := os.Open(filepath.Join(root, "sandbox", secretsFile))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := sparkconf.ParseProperties(f)
			if diff := cmp.Diff(props{"spark.from.defaults": "1", "spark.my.token": "hunter 2$(echo no)"}, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if err := os.Remove(f.Name()); err != nil {
				t.Error(err)
			}
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
