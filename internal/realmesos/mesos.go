package realmesos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// DefaultResources is what an agent offers unless Options say otherwise.
const DefaultResources = "cpus:4;mem:4096;disk:8192;ports:[31000-31999]"

// ErrNotSeparate is returned by KillAgent and RestartAgent of a Mesos that is
// one process.
var ErrNotSeparate = errors.New("realmesos: agents are processes of their own only with Options.Separate")

// Options of a Mesos; the zero value is one agent with DefaultResources, all in
// one process.
type Options struct {
	Agents     int    // default 1
	Resources  string // of each agent, in Mesos's notation; default DefaultResources
	Attributes string // of each agent, as "rack:r1;zone:z"; default none

	// Separate makes the master and every agent a process of its own.
	Separate bool
	// PerAgent, with Separate, overrides resources and attributes by agent.
	PerAgent []AgentOptions

	// Standby adds a master that does not lead and redirects to the one that does.
	Standby bool

	// WorkDir receives registry, sandboxes and logs, and is then kept by Close;
	// default a temporary directory that Close removes.
	WorkDir string
	// Env adds to or overrides the environment of all processes, as
	// "MESOS_AGENT_PING_TIMEOUT=1secs"; MESOS_* are flags of master and agent.
	Env []string
}

// AgentOptions are one agent's own; an empty field means that of Options.
type AgentOptions struct {
	Resources, Attributes string
}

// Mesos is a running master with its agents. Its methods are for one goroutine
// at a time, except Addr, URL and WorkDir.
type Mesos struct {
	work     string
	keepWork bool
	master   *process // the whole Mesos if agents is empty
	agents   []*process
	standby  *process // nil without Options.Standby
	want     int      // agents in all
	client   http.Client
}

const (
	startTimeout = 60 * time.Second
	closeTimeout = 30 * time.Second
	portTries    = 3
)

// Start builds Mesos if need be and runs it until all agents are active, about
// 1 s. Beyond ctx it waits at most a minute; on failure the error carries the
// end of the log, and nothing is left running.
func Start(ctx context.Context, options Options) (*Mesos, error) {
	programs, err := Build(ctx)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		m, err := programs.start(ctx, options)
		if err == nil || !errors.Is(err, errExited) || try == portTries || ctx.Err() != nil {
			return m, err
		}
		// Somebody else may have taken the port between its choice and its use.
	}
}

func (p *Programs) start(ctx context.Context, options Options) (*Mesos, error) {
	m := &Mesos{
		want:   max(options.Agents, len(options.PerAgent), 1),
		client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second},
	}
	if err := m.makeWorkDir(options.WorkDir); err != nil {
		return nil, err
	}
	err := m.layOut(p, options)
	if err == nil && options.Standby {
		m.standby, err = m.newProcess(p, "standby", "standby", options.Env, AgentOptions{}, m.Addr())
	}
	for _, process := range m.processes() {
		if err == nil {
			err = process.start()
		}
	}
	if err == nil {
		err = m.waitActive(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Mesos) makeWorkDir(given string) (err error) {
	if given == "" {
		m.work, err = os.MkdirTemp("", "realmesos-")
		return err
	}
	m.keepWork = true
	if m.work, err = filepath.Abs(given); err != nil {
		return err
	}
	return os.MkdirAll(m.work, 0o755)
}

// layOut decides which processes there are, and their ports and settings.
func (m *Mesos) layOut(p *Programs, options Options) (err error) {
	all := AgentOptions{Resources: options.Resources, Attributes: options.Attributes}
	if !options.Separate {
		if len(options.PerAgent) > 0 {
			return fmt.Errorf("Options.PerAgent: %w", ErrNotSeparate)
		}
		m.master, err = m.newProcess(p, "local", "local", options.Env, all, "")
		return err
	}
	if m.master, err = m.newProcess(p, "master", "master", options.Env, all, ""); err != nil {
		return err
	}
	for i := range m.want {
		own := all
		if i < len(options.PerAgent) {
			own.Resources = firstNonEmpty(options.PerAgent[i].Resources, all.Resources)
			own.Attributes = firstNonEmpty(options.PerAgent[i].Attributes, all.Attributes)
		}
		name := "agent-" + strconv.Itoa(i)
		agent, err := m.newProcess(p, "agent", name, options.Env, own, m.Addr())
		if err != nil {
			return err
		}
		m.agents = append(m.agents, agent)
	}
	return nil
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (m *Mesos) newProcess(p *Programs, role, name string, env []string, agent AgentOptions, master string) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	work := filepath.Join(m.work, name)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	settings := []string{
		"LIBPROCESS_IP=127.0.0.1", "LIBPROCESS_PORT=" + strconv.Itoa(port),
		"LIBPROCESS_SSL_ENABLED=false", "LIBPROCESS_NUM_WORKER_THREADS=8",
		workEnv + "=" + m.work,
		"MESOS_WORK_DIR=" + work,
		"MESOS_NUM_SLAVES=" + strconv.Itoa(m.want),
		"MESOS_HOSTNAME=127.0.0.1",
		"MESOS_RESOURCES=" + firstNonEmpty(agent.Resources, DefaultResources),
		"MESOS_LAUNCHER_DIR=" + filepath.Join(p.dir, "libexec"),
		"MESOS_LAUNCHER=posix",
		"MESOS_ISOLATION=filesystem/posix,posix/cpu,posix/mem",
		"MESOS_SYSTEMD_ENABLE_SUPPORT=false",
		// Only root can run tasks as the user that the framework names.
		"MESOS_SWITCH_USER=" + strconv.FormatBool(os.Geteuid() == 0),
		"MESOS_HTTP_COMMAND_EXECUTOR=true",
		"MESOS_RECOVERY_TIMEOUT=2mins",
		"MESOS_FETCHER_CACHE_DIR=" + filepath.Join(work, "fetch"),
		"MESOS_APPC_STORE_DIR=" + filepath.Join(work, "store", "appc"),
		"MESOS_DOCKER_STORE_DIR=" + filepath.Join(work, "store", "docker"),
	}
	if agent.Attributes != "" {
		settings = append(settings, "MESOS_ATTRIBUTES="+agent.Attributes)
	}
	if master != "" {
		settings = append(settings, "MESOS_MASTER="+master)
	}
	return &process{
		role: role,
		path: p.program(role),
		port: port,
		log:  filepath.Join(m.work, name+".log"),
		// Of equal names the last counts.
		env: slices.Concat(os.Environ(), settings, env),
	}, nil
}

// processes are those laid out so far, the master first.
func (m *Mesos) processes() []*process {
	all := append([]*process{m.master}, m.agents...)
	all = append(all, m.standby)
	return slices.DeleteFunc(all, func(p *process) bool { return p == nil })
}

// Addr is the master's host:port, the same after RestartMaster.
func (m *Mesos) Addr() string { return m.master.addr() }

// URL is the master's http URL, without a path.
func (m *Mesos) URL() string { return "http://" + m.Addr() }

// StandbyURL is the URL of the master that redirects to this one. It exists only
// with Options.Standby.
func (m *Mesos) StandbyURL() string { return "http://" + m.standby.addr() }

// WorkDir holds, beside registry and sandboxes, the logs: local.log, or
// master.log and agent-0.log, agent-1.log and so on.
func (m *Mesos) WorkDir() string { return m.work }

// MasterPID is the process id of the master.
func (m *Mesos) MasterPID() int { return m.master.pid }

// KillMaster kills the master with SIGKILL; without Separate that is the whole
// Mesos, except executors of frameworks that checkpoint.
func (m *Mesos) KillMaster() { m.master.kill() }

// RestartMaster starts a killed master on its port and registry, and waits
// until all agents that run are active again.
func (m *Mesos) RestartMaster(ctx context.Context) error {
	if err := m.master.start(); err != nil {
		return err
	}
	return m.waitActive(ctx)
}

// KillAgent kills agent i, from 0, with SIGKILL. Executors of frameworks that
// checkpoint live on and wait for its return, at most 2 minutes.
func (m *Mesos) KillAgent(i int) error {
	agent, err := m.agent(i)
	if err == nil {
		agent.kill()
	}
	return err
}

// RestartAgent starts a killed agent on its port and work directory, and waits
// until it is active again.
func (m *Mesos) RestartAgent(ctx context.Context, i int) error {
	agent, err := m.agent(i)
	if err != nil {
		return err
	}
	if err := agent.start(); err != nil {
		return err
	}
	return m.waitActive(ctx)
}

func (m *Mesos) agent(i int) (*process, error) {
	if len(m.agents) == 0 {
		return nil, ErrNotSeparate
	}
	if i < 0 || i >= len(m.agents) {
		return nil, fmt.Errorf("realmesos: no agent %d among %d", i, len(m.agents))
	}
	return m.agents[i], nil
}

// Close kills master, agents, executors and tasks, and removes the work
// directory unless it was given. It may be called again.
func (m *Mesos) Close() error {
	for _, process := range m.processes() {
		process.kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := killStragglers(ctx, m.work)
	if !m.keepWork {
		err = errors.Join(err, os.RemoveAll(m.work))
	}
	return err
}

// errExited marks a process that ended by itself while it was waited for.
var errExited = errors.New("exited")

// waitActive waits until the master counts as active all agents that should be,
// and those that are processes of their own know it: an agent that was killed a
// moment ago still counts, under the same id with which its next process comes.
func (m *Mesos) waitActive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if !m.master.wanted {
		return errors.New("realmesos: the master was killed; restart it first")
	}
	for {
		err := m.active(ctx)
		if err == nil {
			return nil
		}
		for _, process := range m.processes() {
			if process.wanted && !process.running() {
				return fmt.Errorf("realmesos: the %s %w:\n%s", process.role, errExited, process.logTail())
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("realmesos: waiting for agents: %w: %w; the master's log ends:\n%s",
				context.Cause(ctx), err, m.master.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (m *Mesos) active(ctx context.Context) error {
	want := m.want
	if len(m.agents) > 0 {
		want = 0
	}
	for _, agent := range m.agents {
		if !agent.wanted {
			continue
		}
		want++
		var metrics struct {
			Registered float64 `json:"slave/registered"`
		}
		// Without its timeout this call can hang when it meets an agent that is
		// just starting, as others do, less often: hence the client's own.
		if err := m.get(ctx, "http://"+agent.addr()+"/metrics/snapshot?timeout=300ms", &metrics); err != nil {
			return err
		}
		if metrics.Registered != 1 {
			return fmt.Errorf("the agent at %s is not registered", agent.addr())
		}
	}
	if m.standby != nil {
		var version struct{ Version string }
		if err := m.get(ctx, m.StandbyURL()+"/version", &version); err != nil {
			return err
		}
	}
	var state struct {
		Slaves []struct{ Active bool }
	}
	if err := m.get(ctx, m.URL()+"/slaves", &state); err != nil {
		return err
	}
	active := 0
	for _, agent := range state.Slaves {
		if agent.Active {
			active++
		}
	}
	if active < want {
		return fmt.Errorf("%d of %d agents are active", active, want)
	}
	return nil
}

// get reads a JSON answer into out.
func (m *Mesos) get(ctx context.Context, url string, out any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := m.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(out)
}
