package localmesos_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

const subscribeJSON = `{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}`

// The texts are those of a real Mesos 1.11.
func TestRefusedCalls(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeJSON, aware())
	id := fmt.Sprintf(`"framework_id":{"value":%q}`, f.id)
	for _, c := range []struct {
		name, method, contentType, accept, stream, body string
		status                                          int
		text                                            string
	}{
		{"no content type", "POST", "", "", "", "x", 400, "Expecting 'Content-Type' to be present"},
		{"other content type", "POST", "text/plain", "", "", "x", 415, "Expecting 'Content-Type' of application/json or application/x-protobuf"},
		{"other method", "GET", "", "", "", "", 405, "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'."},
		{"not JSON", "POST", "application/json", "", "", "{", 400, "Failed to parse body into JSON"},
		{"JSON of another kind", "POST", "application/json", "", "", "[]", 400, "Failed to convert JSON into Call protobuf"},
		{"wrong type of a field", "POST", "application/json", "", "", `{"type":7.5}`, 400, "Failed to convert JSON into Call protobuf"},
		{"not protobuf", "POST", "application/x-protobuf", "", "", "\xff\xff", 400, "Failed to parse body into Call protobuf"},
		{"no type", "POST", "application/json", "", "", `{}`, 400, "Failed to validate scheduler::Call: Expecting 'type' to be present"},
		{"no framework id", "POST", "application/json", "", "", `{"type":"REVIVE"}`, 400, "Failed to validate scheduler::Call: Expecting 'framework_id' to be present"},
		{"no content", "POST", "application/json", "", "", `{"type":"KILL",` + id + `}`, 400, "Failed to validate scheduler::Call: Expecting 'kill' to be present"},
		{"no user", "POST", "application/json", "", "", `{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"n"}}}`, 400, "Missing required fields: subscribe.framework_info.user"},
		{"two ids", "POST", "application/json", "", "", strings.Replace(subscribeJSON, "{", `{"framework_id":{"value":"a"},`, 1), 400, "'framework_id' differs from 'subscribe.framework_info.id'"},
		{"not acceptable", "POST", "application/json", "text/plain", "", subscribeJSON, 406, "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"},
		{"subscription on a stream", "POST", "application/json", "", "x", subscribeJSON, 400, "Subscribe calls should not include the 'Mesos-Stream-Id' header"},
		{"unknown framework", "POST", "application/json", "", "x", `{"type":"REVIVE","framework_id":{"value":"x"}}`, 400, "Framework cannot be found"},
		{"no stream id", "POST", "application/json", "", "", `{"type":"REVIVE",` + id + `}`, 400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"},
		{"wrong stream id", "POST", "application/json", "", "other", `{"type":"REVIVE",` + id + `}`, 400, "The stream ID 'other' included in this request didn't match the stream ID currently associated with framework ID " + f.id},
		{"too big", "POST", "application/json", "", "", strings.Repeat(" ", 11<<20), 413, "Body exceeds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := http.NewRequestWithContext(t.Context(), c.method, m.URL()+"/api/v1/scheduler", strings.NewReader(c.body))
			for name, v := range map[string]string{"Content-Type": c.contentType, "Accept": c.accept, "Mesos-Stream-Id": c.stream} {
				if v != "" {
					r.Header.Set(name, v)
				}
			}
			resp, err := do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.text) {
				t.Errorf("%d %q, want %d %q", resp.StatusCode, body, c.status, c.text)
			}
		})
	}
}

func TestRefusedSubscriptions(t *testing.T) {
	m := start(t, localmesos.Options{})
	role := func(r string) *mesos.FrameworkInfo { i := plainInfo(); i.Role = &r; return i }
	roles := func(r ...string) *mesos.FrameworkInfo { i := aware(); i.Roles = r; return i }
	endless := 1e10
	for text, info := range map[string]*mesos.FrameworkInfo{
		"'FrameworkInfo.role' is not a valid role: Role '/bad' cannot start with a slash":                        role("/bad"),
		"'FrameworkInfo.role' is not a valid role: Role component '-a' is invalid because it starts with a dash": role("-a"),
		"'FrameworkInfo.role' is not a valid role: Role names cannot be the empty string":                        role(""),
		"'FrameworkInfo.roles' contains duplicate items: { a }":                                                  roles("a", "a"),
		"'FrameworkInfo.roles' contains invalid role: Role 'a/..' cannot include '..' as a component":            roles("a/.."),
		"'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable":                     {User: "u", Name: "n", Roles: []string{"a"}},
		"The framework failover_timeout (1e+10) is invalid":                                                      {User: "u", Name: "n", FailoverTimeout: &endless},
		"'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable":                          func() *mesos.FrameworkInfo { i := aware(); r := "a"; i.Role = &r; return i }(),
		"Role component 'a b' is invalid because it contains backspace or whitespace":                            role("a b"),
		"'FrameworkInfo.roles' contains invalid role: Role 'a//b' cannot contain two adjacent slashes":           roles("a//b"),
	} {
		f := connect(t, m.Addr(), codecs.MediaTypeJSON, info)
		if got := f.next(scheduler.Event_ERROR).Error.Message; !strings.Contains(got, text) {
			t.Errorf("error %q, want %q", got, text)
		}
		f.ended()
	}
}

func TestSubscribedThenHeartbeats(t *testing.T) {
	m := start(t, localmesos.Options{HeartbeatInterval: 30 * time.Millisecond})
	for _, media := range bothMedia {
		t.Run(string(media), func(t *testing.T) {
			f := connect(t, m.Addr(), media, aware())
			s := (<-f.events).Subscribed
			if s.GetHeartbeatIntervalSeconds() != 0.03 || s.GetFrameworkID().GetValue() == "" {
				t.Errorf("subscribed: %v", s)
			}
			if i := s.GetMasterInfo(); i.GetVersion() != "1.11.0" || i.GetIP() != 16777343 || i.Address.GetHostname() != "127.0.0.1" {
				t.Errorf("master info: %v", i)
			}
			for range 3 {
				f.next(scheduler.Event_HEARTBEAT)
			}
		})
	}
}

func TestAcceptHeaderChoosesTheEncoding(t *testing.T) {
	m := start(t, localmesos.Options{})
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/x-protobuf": "application/x-protobuf",
		"text/html, application/x-protobuf;q=0.5":  "application/x-protobuf",
		"application/x-protobuf, application/json": "application/json",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		r := newRequest(t, ctx, m.Addr(), codecs.MediaTypeJSON, []byte(subscribeJSON))
		r.Header.Del("Accept")
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		resp, err := do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %q, want %q", accept, got, want)
		}
		cancel()
		resp.Body.Close()
	}
}

func TestCredentials(t *testing.T) {
	m := start(t, localmesos.Options{Credentials: map[string]string{"spark": "secret", "other": "word"}})
	info := `{"user":"u","name":"n","principal":"other"}`
	for _, c := range []struct {
		name, user, password, body string
		status                     int
	}{
		{"none", "", "", subscribeJSON, 401},
		{"wrong secret", "spark", "word", subscribeJSON, 401},
		{"unknown principal", "nobody", "", subscribeJSON, 401},
		{"right", "spark", "secret", subscribeJSON, 200},
		{"another's principal", "spark", "secret", `{"type":"SUBSCRIBE","subscribe":{"framework_info":` + info + `}}`, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := newRequest(t, ctx, m.Addr(), codecs.MediaTypeJSON, []byte(c.body))
			if c.user != "" {
				r.SetBasicAuth(c.user, c.password)
			}
			resp, err := do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("%s, want %d", resp.Status, c.status)
			}
			if c.status == 401 && resp.Header.Get("WWW-Authenticate") != `Basic realm="mesos-master-scheduler"` {
				t.Errorf("WWW-Authenticate: %q", resp.Header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestUpdateFrameworkChangesRoles(t *testing.T) {
	m := start(t, localmesos.Options{Agents: 1, Resources: "cpus(eng):2;mem(eng):512"})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	info := *f.info
	info.Roles = []string{"eng"}
	update := func(info mesos.FrameworkInfo, status int, text string) {
		t.Helper()
		got, body, err := f.post(&scheduler.Call{Type: scheduler.Call_UPDATE_FRAMEWORK, UpdateFramework: &scheduler.Call_UpdateFramework{FrameworkInfo: info}})
		if err != nil || got != status || !strings.HasPrefix(body, text) {
			t.Errorf("%d %q %v, want %d %q", got, body, err, status, text)
		}
	}
	bad := info
	bad.Roles = []string{"/x"}
	update(bad, 400, "Supplied FrameworkInfo is not valid: ")
	bad = info
	bad.User = "somebody else"
	update(bad, 400, "FrameworkInfo update is not valid: Updating 'FrameworkInfo.user' is unsupported")
	update(info, 200, "")
	if o := f.offer(); o.AllocationInfo.GetRole() != "eng" {
		t.Errorf("offer: %v", o)
	}
}

func TestStartRefusesBadOptions(t *testing.T) {
	for text, opts := range map[string]localmesos.Options{
		"not host:port":           {Addr: "here"},
		"agents: want 1 to 1000":  {Agents: 5000},
		"want name:value":         {Resources: "cpus"},
		"is not a number":         {Resources: "cpus:many"},
		"want begin-end":          {Resources: "ports:[9-1]"},
		"attribute \"rack\"":      {Attributes: "rack"},
		"options for 2 agents":    {Agents: 1, AgentOptions: make([]localmesos.AgentOptions, 2)},
		"negative duration":       {HeartbeatInterval: -1},
		"choose another port":     {Addr: "192.0.2.1:1"},
		"cannot start with a sla": {Resources: "cpus(/x):1"},
	} {
		m, err := localmesos.Start(t.Context(), opts)
		if err == nil {
			m.Close()
			t.Errorf("no error, want %q", text)
		} else if !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
}
