package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// jobs are the drivers of the demo: real Spark, or plain commands.
type jobs interface {
	// submit submits all of them and returns their ids, the supervised one last.
	submit(ctx context.Context) ([]string, error)
	// output is a line of a driver's stdout that shows that it did its work.
	output(stdout string) string
}

// story tells and checks what happens.
type story struct {
	dir     string
	began   time.Time
	cluster *devcluster.Cluster
	work    jobs
}

func newStory(dir string) *story { return &story{dir: dir, began: time.Now()} }

func (s *story) step(format string, args ...any) {
	fmt.Printf("[%5.1fs] %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *story) say(format string, args ...any) {
	fmt.Printf("         %s\n", fmt.Sprintf(format, args...))
}

// progress says every few seconds that something is still going on.
func (s *story) progress(what string) (done func()) {
	stop := make(chan struct{})
	go func() {
		t := time.NewTicker(3 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				s.step("… %s", what)
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop) }
}

func (s *story) tell(ctx context.Context) error {
	s.step("submitting the drivers, one of them supervised and failing on its first attempt")
	done := s.progress("submitting")
	ids, err := s.work.submit(ctx)
	done()
	if err != nil {
		return err
	}
	before, err := s.waitAllRun(ctx, ids)
	if err != nil {
		return err
	}
	if err := s.killLeader(ctx); err != nil {
		return err
	}
	if err := s.waitAllFinish(ctx, ids); err != nil {
		return err
	}
	return s.check(ctx, ids, before)
}

// waitAllRun waits until every driver has a process, the supervised one after
// its failure too, and returns the processes.
func (s *story) waitAllRun(ctx context.Context, ids []string) (map[string]int, error) {
	s.step("waiting until all of them run, the supervised one for the second time")
	pids := make(map[string]int)
	err := s.until(ctx, "drivers to run", func() (string, bool, error) {
		for _, id := range ids {
			d, err := s.driver(ctx, id)
			if err != nil {
				return err.Error(), false, nil
			}
			starts := s.journal(id, "start")
			if d.State != "RUNNING" || len(starts) < len(d.Attempts) || d.Supervise && len(d.Attempts) < 2 {
				if d.State == "FINISHED" || d.State == "FAILED" || d.State == "ERROR" {
					return "", false, fmt.Errorf("%s is %s too early: %s", id, d.State, d.Reason)
				}
				return fmt.Sprintf("%s is %s, attempt %d", id, d.State, len(d.Attempts)), false, nil
			}
			pids[id] = starts[len(starts)-1]
		}
		return "", true, nil
	})
	for _, id := range ids {
		s.say("%s runs as process %d", id, pids[id])
	}
	return pids, err
}

func (s *story) killLeader(ctx context.Context) error {
	old, err := s.cluster.WaitReady(ctx)
	if err != nil {
		return err
	}
	info := s.cluster.Info()
	s.step("kill -9 of the leader %s, pid %d", info.Nodes[old].ID, info.Nodes[old].PID)
	other := (old + 1) % len(info.Nodes)
	killed := time.Now()
	if err := s.cluster.Kill(old); err != nil {
		return err
	}
	id, err := submitCommand(ctx, info.Nodes[other].REST, "first driver after the kill", "echo accepted after the failover")
	if err != nil {
		return fmt.Errorf("submit after the kill: %w", err)
	}
	accepted := time.Since(killed)
	leader, err := s.cluster.WaitReady(ctx)
	if err != nil {
		return err
	}
	s.step("%s leads now: the next submission was accepted %d ms after the kill (%s), Mesos subscribed within %d ms",
		info.Nodes[leader].ID, accepted.Milliseconds(), id, time.Since(killed).Milliseconds())
	return nil
}

func (s *story) waitAllFinish(ctx context.Context, ids []string) error {
	s.step("waiting for the drivers to finish")
	return s.until(ctx, "drivers to finish", func() (string, bool, error) {
		for _, id := range ids {
			d, err := s.driver(ctx, id)
			if err != nil {
				return err.Error(), false, nil
			}
			switch d.State {
			case "FINISHED":
			case "FAILED", "KILLED", "LOST", "ERROR":
				return "", false, fmt.Errorf("%s ended as %s: %s", id, d.State, d.Reason)
			default:
				return fmt.Sprintf("%s is %s", id, d.State), false, nil
			}
		}
		return "", true, nil
	})
}

// check holds the journals, which the drivers write themselves, against what the
// dispatcher says.
func (s *story) check(ctx context.Context, ids []string, before map[string]int) error {
	s.step("all FINISHED; checking that each attempt was started once, and which process ended")
	var errs []error
	for _, id := range ids {
		d, err := s.driver(ctx, id)
		if err != nil {
			return err
		}
		starts, ends := s.journal(id, "start"), s.journal(id, "end")
		attempts := len(d.Attempts)
		if len(starts) != attempts || len(ends) != 1 || ends[0] != before[id] {
			errs = append(errs, fmt.Errorf("%s: %d attempts, %d starts, ended as process %v, was %d", id, attempts, len(starts), ends, before[id]))
		}
		out, err := s.stdout(ctx, d)
		line := s.work.output(out)
		if err != nil || line == "" {
			errs = append(errs, fmt.Errorf("%s: no output of its work: %v %q", id, err, out)) //nolint:errorlint // err may be nil
		}
		s.say("%s  %s  attempts %d, started %d times, process %d → %v  %q", id, d.State, attempts, len(starts), before[id], ends, line)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.step("nothing was lost, nothing ran twice")
	return nil
}

// until asks again and again, and says every few seconds what it waits for.
func (s *story) until(ctx context.Context, what string, ready func() (string, bool, error)) error {
	said := time.Now()
	for {
		state, ok, err := ready()
		if ok || err != nil {
			return err
		}
		if time.Since(said) > 3*time.Second {
			s.step("… %s", state)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%s)", what, ctx.Err(), state)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// driver asks any node that runs.
func (s *story) driver(ctx context.Context, id string) (*api.Driver, error) {
	var last error
	for i, n := range s.cluster.Info().Nodes {
		if !s.cluster.Running(i) {
			continue
		}
		d := new(api.Driver)
		if last = getJSON(ctx, n.REST+"/v1/drivers/"+id, d); last == nil {
			return d, nil
		}
	}
	return nil, last
}

// journalFile is where a driver notes its processes. It is named after the job,
// which is known before the id.
func (s *story) journalFile(job string) string { return filepath.Join(s.dir, "journal-"+job) }

// journal returns the processes of one kind of line in a driver's journal.
func (s *story) journal(id, kind string) []int {
	raw, err := os.ReadFile(filepath.Join(s.dir, "journal-of-"+id))
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(raw)) {
		var what string
		var pid int
		var at int64
		if n, _ := fmt.Sscan(line, &what, &pid, &at); n == 3 && what == kind {
			pids = append(pids, pid)
		}
	}
	return pids
}

// linkJournal lets the journal of a job be found by the id of its driver.
func (s *story) linkJournal(job, id string) error {
	return os.Symlink(s.journalFile(job), filepath.Join(s.dir, "journal-of-"+id))
}

func (s *story) stdout(ctx context.Context, d *api.Driver) (string, error) {
	var cluster struct {
		Framework struct{ ID string }
	}
	for i, n := range s.cluster.Info().Nodes {
		if s.cluster.Running(i) {
			if err := getJSON(ctx, n.REST+"/v1/cluster", &cluster); err != nil {
				return "", err
			}
			break
		}
	}
	last := d.Attempts[len(d.Attempts)-1]
	box := mesosutil.Sandbox{Master: s.cluster.Info().Mesos.URL}
	var out bytes.Buffer
	_, err := box.Copy(ctx, &out, mesosutil.TaskFile{
		FrameworkID: cluster.Framework.ID, AgentID: last.AgentID, TaskID: last.TaskID, Name: "stdout",
	}, 0)
	return out.String(), err
}
