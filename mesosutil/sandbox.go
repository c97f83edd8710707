package mesosutil

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ErrNoSandbox says that neither master nor agent knows the sandbox of a task:
// its agent is gone, or Mesos has collected it.
var ErrNoSandbox = errors.New("no sandbox is known for this task")

// sandboxPage is how much of a file one request reads; Mesos gives no more.
const sandboxPage = 64 << 10

// maxStateBytes bounds the answer of a state endpoint.
const maxStateBytes = 256 << 20

// Sandbox reads the files of tasks through the HTTP endpoints of a master and
// its agents (/slaves, /state, /files/read of Mesos 1.x). It is safe for
// concurrent use.
type Sandbox struct {
	// Master is the base URL of the leading master, such as http://h:5050.
	Master string
	// Client defaults to http.DefaultClient; its timeout bounds each request.
	Client *http.Client
	// Credentials for masters and agents that ask for them; may be nil.
	Credentials *Credentials
}

// TaskFile names a file of one task.
type TaskFile struct{ FrameworkID, AgentID, TaskID, Name string }

// Copy writes the file from offset on to w, as far as it reaches at the moment,
// and returns the offset behind it. Errors: ErrNoSandbox, or what went wrong on
// the way.
func (s *Sandbox) Copy(ctx context.Context, w io.Writer, f TaskFile, offset int64) (int64, error) {
	base, dir, err := s.locate(ctx, f)
	if err != nil {
		return offset, err
	}
	for {
		var page struct {
			Data   string
			Offset int64
		}
		q := url.Values{"path": {dir + "/" + f.Name}, "offset": {strconv.FormatInt(offset, 10)}, "length": {strconv.Itoa(sandboxPage)}}
		if err := s.get(ctx, base+"/files/read?"+q.Encode(), &page); err != nil {
			return offset, err
		}
		n, err := io.WriteString(w, page.Data)
		offset += int64(n)
		if err != nil || n == 0 {
			return offset, err
		}
	}
}

// locate finds the agent's base URL and the directory of the task on it.
func (s *Sandbox) locate(ctx context.Context, f TaskFile) (base, dir string, err error) {
	var slaves struct {
		Slaves []struct{ ID, PID string }
	}
	if err := s.get(ctx, strings.TrimSuffix(s.Master, "/")+"/slaves", &slaves); err != nil {
		return "", "", err
	}
	for _, a := range slaves.Slaves {
		if a.ID != f.AgentID {
			continue
		}
		process, address, found := strings.Cut(a.PID, "@")
		if !found {
			return "", "", fmt.Errorf("agent %s has no address: %q", a.ID, a.PID)
		}
		base = "http://" + address
		dir, err = s.directory(ctx, base+"/"+process+"/state", f)
		return base, dir, err
	}
	return "", "", fmt.Errorf("%w: agent %s is not registered", ErrNoSandbox, f.AgentID)
}

type agentExecutors struct {
	ID                 string
	Executors          []agentExecutor
	CompletedExecutors []agentExecutor `json:"completed_executors"`
}

type agentExecutor struct{ ID, Directory string }

func (s *Sandbox) directory(ctx context.Context, stateURL string, f TaskFile) (string, error) {
	var state struct {
		Frameworks          []agentExecutors
		CompletedFrameworks []agentExecutors `json:"completed_frameworks"`
	}
	if err := s.get(ctx, stateURL, &state); err != nil {
		return "", err
	}
	for _, fw := range append(state.Frameworks, state.CompletedFrameworks...) {
		if fw.ID != f.FrameworkID {
			continue
		}
		for _, e := range append(fw.Executors, fw.CompletedExecutors...) {
			if e.ID == f.TaskID { // a command task's executor has the task's id
				return e.Directory, nil
			}
		}
	}
	// An agent lists only its latest executors. It serves the sandboxes of all
	// that it has not collected yet under a virtual path.
	return "/frameworks/" + f.FrameworkID + "/executors/" + f.TaskID + "/runs/latest", nil
}

func (s *Sandbox) get(ctx context.Context, u string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	if s.Credentials != nil {
		req.SetBasicAuth(s.Credentials.Principal(), s.Credentials.Secret())
	}
	client := s.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
		if resp.StatusCode == http.StatusNotFound {
			return fmt.Errorf("%w: %s", ErrNoSandbox, u)
		}
		return fmt.Errorf("mesos answers %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxStateBytes)).Decode(into)
}
