package localmesos

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// sandbox is where Mesos would put it, so that tools find it.
func (a *agent) sandbox(frameworkID, executorID, containerID string) string {
	return filepath.Join(a.m.workDir, "slaves", a.id, "frameworks", frameworkID, "executors", executorID, "runs", containerID)
}

// container is a sandbox with one process in it: of a command task, or of an
// executor and all the tasks that it runs.
type container struct {
	agent       *agent
	frameworkID string
	executorID  string // a command task's is that of the task
	role        string
	containerID string
	sandbox     string // absolute; empty for what never got one

	cancel context.CancelFunc // ends preparation
	proc   *process           // nil until it was started
	pid    int
	exited bool // no process lives, and none will be started
}

func (a *agent) newContainer(frameworkID, executorID, role string) *container {
	c := &container{agent: a, frameworkID: frameworkID, executorID: executorID, role: role, containerID: uuid.NewString()}
	c.sandbox = a.sandbox(frameworkID, executorID, c.containerID)
	return c
}

// signal does not wait: finding the members of a session reads /proc.
func (c *container) signal(s syscall.Signal) {
	if p := c.proc; !c.exited && p != nil {
		c.agent.m.work.Go(func() { p.signal(s) })
	}
}

func (c *container) status() *mesos.ContainerStatus {
	if c.pid == 0 {
		return nil
	}
	pid, host := uint32(c.pid), *address(c.agent.m.servers[0].addr).IP
	return &mesos.ContainerStatus{
		ContainerID: &mesos.ContainerID{Value: c.containerID}, ExecutorPID: &pid,
		NetworkInfos: []mesos.NetworkInfo{{IPAddresses: []mesos.NetworkInfo_IPAddress{{
			Protocol: mesos.IPv4.Enum(), IPAddress: &host}}}},
	}
}

// prepare makes the sandbox and fetches into it what the command wants.
func (c *container) prepare(ctx context.Context, command *mesos.CommandInfo) error {
	err := c.makeSandbox()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, c.agent.m.opts.FetchTimeout)
		defer cancel()
		err = fetchAll(ctx, command.GetURIs(), c.sandbox)
	}
	return err
}

func (c *container) makeSandbox() error {
	if err := os.MkdirAll(c.sandbox, 0o755); err != nil {
		return fmt.Errorf("Failed to create sandbox: %w", err)
	}
	// Relative, so that the link holds when the directory is moved and can be
	// followed by those who must not leave it.
	latest := filepath.Join(filepath.Dir(c.sandbox), "latest")
	next := filepath.Join(filepath.Dir(c.sandbox), "."+c.containerID)
	if err := os.Symlink(c.containerID, next); err != nil {
		return fmt.Errorf("Failed to create sandbox: %w", err)
	}
	if err := os.Rename(next, latest); err != nil {
		return fmt.Errorf("Failed to create sandbox: %w", err)
	}
	for _, name := range []string{"stdout", "stderr"} {
		f, err := os.OpenFile(filepath.Join(c.sandbox, name), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("Failed to create sandbox: %w", err)
		}
		f.Close()
	}
	return nil
}

// noteInSandbox leaves a launch error where users look first.
func (c *container) note(err error) {
	f, openErr := os.OpenFile(filepath.Join(c.sandbox, "stderr"), os.O_APPEND|os.O_WRONLY, 0)
	if openErr != nil {
		return // no sandbox: the status message has to do
	}
	defer f.Close()
	fmt.Fprintln(f, err)
}

// process is what a CommandInfo describes. Variables of extra go before those of
// the agent, and the command's own before both.
func (c *container) process(command *mesos.CommandInfo, extra map[string]string) (spec processSpec, err error) {
	spec.dir = c.sandbox
	env := c.agent.m.opts.taskBaseEnv()
	c.addMesosEnv(env)
	maps.Copy(env, extra)
	for _, v := range command.GetEnvironment().GetVariables() {
		value, err := variable(v)
		if err != nil {
			return spec, err
		}
		env[v.Name] = value
	}
	for name, value := range env {
		spec.env = append(spec.env, name+"="+value)
	}
	if command.GetShell() {
		if command.GetValue() == "" {
			return spec, fmt.Errorf("shell command has no value")
		}
		spec.path, spec.args = "/bin/sh", []string{"sh", "-c", command.GetValue()}
		return spec, nil
	}
	spec.args = command.Arguments
	if len(spec.args) == 0 {
		spec.args = []string{command.GetValue()}
	}
	spec.path, err = lookPath(command.GetValue(), c.sandbox, env["PATH"])
	return spec, err
}

func (c *container) addMesosEnv(env map[string]string) {
	a := c.agent
	for name, value := range map[string]string{
		"MESOS_SANDBOX": c.sandbox, "MESOS_DIRECTORY": c.sandbox,
		"MESOS_EXECUTOR_ID": c.executorID, "MESOS_FRAMEWORK_ID": c.frameworkID, "MESOS_SLAVE_ID": a.id,
		"MESOS_SLAVE_PID": a.pid(), "MESOS_AGENT_ENDPOINT": a.m.servers[0].addr, "MESOS_CHECKPOINT": "0", "PWD": c.sandbox,
	} {
		env[name] = value
	}
}

func variable(v mesos.Environment_Variable) (string, error) {
	if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") {
		return "", fmt.Errorf("environment variable %q: not a name", v.Name)
	}
	value := v.GetValue()
	if v.GetType() == mesos.Environment_Variable_SECRET {
		if v.Secret.GetType() != mesos.Secret_VALUE {
			return "", fmt.Errorf("environment variable %q: the embedded Mesos has no secret store; use a secret of type VALUE", v.Name)
		}
		value = string(v.Secret.GetValue().GetData())
	}
	if strings.ContainsRune(value, 0) {
		return "", fmt.Errorf("environment variable %q: value contains a NUL byte", v.Name)
	}
	return value, nil
}

// lookPath finds a program the way execvp does in the task's environment.
func lookPath(name, dir, path string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("command has no value")
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	if strings.Contains(name, "/") {
		return filepath.Join(dir, name), nil
	}
	for _, p := range filepath.SplitList(path) {
		candidate := filepath.Join(p, name)
		if info, err := os.Stat(candidate); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%q was not found in PATH %s", name, path)
}
