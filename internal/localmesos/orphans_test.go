package localmesos_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

const orphanEnv = "LOCALMESOS_ORPHAN_HELPER"

// runOrphanHelper is the main of a process that is to be killed.
func runOrphanHelper() {
	m, err := localmesos.Start(context.Background(), localmesos.Options{WorkDir: os.Getenv(orphanEnv)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(m.Addr())
	select {}
}

// SIGKILL of the process that embeds Mesos leaves none of its tasks, nor what
// they started.
func TestNothingOutlivesAKilledProcess(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	f := subscribe(t, strings.TrimSpace(line), codecs.MediaTypeProtobuf, aware())
	pidFile := t.TempDir() + "/pids"
	f.launch(shell("past", "true"))
	f.until("past", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	f.launch(shell("t", "echo $$ >> "+pidFile+"; (trap '' TERM; sleep 1000) & echo $! >> "+pidFile+"; set -m; sleep 1000 & echo $! >> "+pidFile+"; wait"))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	var pids []int
	eventually(t, "three pids, the last in a group of its own", func() bool {
		b, _ := os.ReadFile(pidFile)
		pids = nil
		for _, s := range strings.Fields(string(b)) {
			pid, _ := strconv.Atoi(s)
			pids = append(pids, pid)
		}
		return len(pids) == 3
	})
	cmd.Process.Kill()
	cmd.Wait()
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("end of %d of %v", pid, pids), func() bool { return !alive(pid) })
	}
}
