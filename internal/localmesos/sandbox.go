package localmesos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// sandbox is where Mesos would put it, so that tools find it.
func (a *agent) sandbox(frameworkID, executorID, containerID string) string {
	return filepath.Join(a.m.workDir, "slaves", a.id, "frameworks", frameworkID, "executors", executorID, "runs", containerID)
}

func (m *Mesos) makeSandbox(r *run) error {
	if err := os.MkdirAll(r.sandbox, 0o755); err != nil {
		return fmt.Errorf("Failed to create sandbox: %w", err)
	}
	// Relative, so that the link holds when the directory is moved and can be
	// followed by those who must not leave it.
	latest := filepath.Join(filepath.Dir(r.sandbox), "latest")
	next := filepath.Join(filepath.Dir(r.sandbox), "."+r.containerID)
	if err := os.Symlink(r.containerID, next); err != nil {
		return fmt.Errorf("Failed to create sandbox: %w", err)
	}
	if err := os.Rename(next, latest); err != nil {
		return fmt.Errorf("Failed to create sandbox: %w", err)
	}
	for _, name := range []string{"stdout", "stderr"} {
		f, err := os.OpenFile(filepath.Join(r.sandbox, name), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("Failed to create sandbox: %w", err)
		}
		f.Close()
	}
	return nil
}

// noteInSandbox leaves a launch error where users look first.
func noteInSandbox(r *run, err error) {
	f, openErr := os.OpenFile(filepath.Join(r.sandbox, "stderr"), os.O_APPEND|os.O_WRONLY, 0)
	if openErr != nil {
		return // no sandbox: the status message has to do
	}
	defer f.Close()
	fmt.Fprintln(f, err)
}

// command is the process that a run's CommandInfo describes.
func (r *run) command() (spec processSpec, err error) {
	c := r.info.Command
	spec.dir = r.sandbox
	env := r.agent.m.opts.taskBaseEnv()
	r.addMesosEnv(env)
	for _, v := range c.GetEnvironment().GetVariables() {
		value, err := variable(v)
		if err != nil {
			return spec, err
		}
		env[v.Name] = value
	}
	for name, value := range env {
		spec.env = append(spec.env, name+"="+value)
	}
	if c.GetShell() {
		if c.Value == nil {
			return spec, fmt.Errorf("shell command has no value")
		}
		spec.path, spec.args = "/bin/sh", []string{"sh", "-c", c.GetValue()}
		return spec, nil
	}
	spec.args = c.Arguments
	if len(spec.args) == 0 {
		spec.args = []string{c.GetValue()}
	}
	spec.path, err = lookPath(c.GetValue(), r.sandbox, env["PATH"])
	return spec, err
}

func (r *run) addMesosEnv(env map[string]string) {
	a := r.agent
	checkpoint := "0"
	if info := a.frameworks[r.frameworkID]; info != nil && info.GetCheckpoint() {
		checkpoint = "1"
	}
	for name, value := range map[string]string{
		"MESOS_SANDBOX": r.sandbox, "MESOS_DIRECTORY": r.sandbox,
		"MESOS_TASK_ID": r.id(), "MESOS_EXECUTOR_ID": r.executorID(), "MESOS_FRAMEWORK_ID": r.frameworkID,
		"MESOS_AGENT_ID": a.id, "MESOS_SLAVE_ID": a.id, "MESOS_SLAVE_PID": a.pid(),
		"MESOS_AGENT_ENDPOINT": a.m.servers[0].addr, "MESOS_CONTAINER_ID": r.containerID,
		"MESOS_ALLOCATION_ROLE": r.role, "MESOS_CHECKPOINT": checkpoint, "PWD": r.sandbox,
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
