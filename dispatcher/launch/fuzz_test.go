package launch

import (
	"errors"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// FuzzDescribe: whatever comes in is refused with a typed error or gives a
// task, and the task is the same each time.
func FuzzDescribe(f *testing.F) {
	f.Add("app.jar", "arg", "spark.driver.cores", "2", "spark.mesos.driver.labels", "a:b")
	f.Add("local:///x", "$x", "spark.executor.uri", "http://h/s.tgz", "spark.my.secret", "v")
	f.Add("..", "'", "spark.mesos.driver.constraints", "a:b;c:", "spark.mesos.driverEnv.X", "y")
	c, err := ParseDispatcherConf(sparkconf.New(props{"spark.master": "m:1", "spark.home": "/s"}), "")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, jar, arg, k1, v1, k2, v2 string) {
		s := Submission{AppResource: jar, Args: []string{arg}, Environment: props{"A": v1},
			Properties: props{"spark.app.name": "n", k1: v1, k2: v2}}
		d, _, err := Describe(c, s)
		if err != nil {
			var ie *InvalidError
			if !errors.As(err, &ie) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		p := Placement{TaskID: "t", AgentID: "a", FrameworkID: "f"}
		one, err1 := Task(c, d, p)
		two, err2 := Task(c, d, p)
		if err1 != nil || err2 != nil {
			t.Fatalf("described, but: %v %v", err1, err2)
		}
		if one.Command.GetValue() != two.Command.GetValue() || strings.Contains(one.Command.GetValue(), "\x00") {
			t.Fatal("not deterministic, or holds NUL")
		}
	})
}
