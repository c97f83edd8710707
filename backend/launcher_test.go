package backend

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

type notedLauncher struct {
	mu   sync.Mutex
	said []string
}

func (n *notedLauncher) SetAppID(id string)       { n.note("id " + id) }
func (n *notedLauncher) SetState(s LauncherState) { n.note(string(s)) }
func (n *notedLauncher) note(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, s)
}

func (n *notedLauncher) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.said)
}

func (n *notedLauncher) wait(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, "the launcher to be told", func() bool { return len(n.all()) >= len(want) })
	if got := n.all(); !slices.Equal(got, want) {
		t.Errorf("the launcher was told %q, want %q", got, want)
	}
}

func TestLauncherStates(t *testing.T) {
	launcher := new(notedLauncher)
	s := suiteWith(t, func(c *Config) { c.Launcher = launcher })
	launcher.wait(t, "SUBMITTED", "id FW", "RUNNING")
	s.mesos.events <- mesosutil.EventDisconnected{Err: errors.New("the stream broke")}
	launcher.wait(t, "SUBMITTED", "id FW", "RUNNING", "SUBMITTED")
	s.mesos.events <- mesosutil.EventSubscribed{FrameworkID: "FW", MasterURL: "http://m:5050", Resubscribed: true}
	launcher.wait(t, "SUBMITTED", "id FW", "RUNNING", "SUBMITTED", "RUNNING")
	s.do(s.Stop(t.Context()))
	launcher.wait(t, "SUBMITTED", "id FW", "RUNNING", "SUBMITTED", "RUNNING", "FINISHED")
}

func TestLauncherAsksForTheEnd(t *testing.T) {
	launcher := new(notedLauncher)
	s := suiteWith(t, func(c *Config) { c.Launcher = launcher })
	launcher.wait(t, "SUBMITTED", "id FW", "RUNNING")
	s.do(s.StopForLauncher(t.Context()))
	launcher.wait(t, "SUBMITTED", "id FW", "RUNNING", "KILLED")
}
