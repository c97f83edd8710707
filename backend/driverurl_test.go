package backend

import (
	"errors"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

func TestTheURLOfTheDriverAsGiven(t *testing.T) {
	for text, host := range map[string]string{
		"spark://CoarseGrainedScheduler@h1:7000":                    "h1",
		"spark://Other@[::1]:1":                                     "::1",
		"spark://CoarseGrainedScheduler@h1":                         "",
		"spark://CoarseGrainedScheduler@h1:0":                       "",
		"spark://CoarseGrainedScheduler@h1:70000":                   "",
		"spark://h1:7000":                                           "",
		"http://CoarseGrainedScheduler@h1:7000":                     "",
		"spark://a:b@h1:7000":                                       "",
		"spark://a@h1:7000/path":                                    "",
		"spark://a@h1:7000?q":                                       "",
		"spark://a@:7000":                                           "",
		"\x00":                                                      "",
		"spark://" + strings.Repeat("a", maxDriverURL) + "@h1:7000": "",
	} {
		s, err := ParseSettings(Context{AppName: "a", SparkHome: "/s", DriverURL: text})
		var invalid *InvalidError
		switch {
		case host == "" && (!errors.As(err, &invalid) || invalid.Key != "DriverURL"):
			t.Errorf("%.60s: %v", text, err)
		case host != "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case host != "" && (s.DriverURL != text || s.Framework.Hostname != host):
			t.Errorf("%s: %s, %s", text, s.DriverURL, s.Framework.Hostname)
		}
	}
	state := fsm.New()
	c, err := New(Config{State: state, Log: &soloLog{state: state}, Master: "m:5050", Context: Context{AppName: "a", SparkHome: "/s", DriverURL: "spark://x@h:1"}})
	if err != nil {
		t.Fatal(err) // neither spark.driver.host nor .port is needed
	}
	cmd, err := c.Settings().Command(ExecutorSpec{ExecutorID: "0", Host: "agent", Cores: 1})
	if err != nil || !strings.Contains(cmd.GetValue(), "--driver-url spark://x@h:1 ") {
		t.Errorf("%v %v", cmd, err)
	}
}
