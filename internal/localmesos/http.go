package localmesos

import (
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// newServer makes the HTTP side of master i.
func (m *Mesos) newServer(i int, addr string) *server {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/scheduler", m.leaderOnly(i, "/api/v1/scheduler", m.schedulerAPI))
	mux.HandleFunc("/master/api/v1/scheduler", m.leaderOnly(i, "/master/api/v1/scheduler", m.schedulerAPI))
	for path, state := range map[string]func() any{
		"state": m.stateJSON, "slaves": m.slavesJSON, "frameworks": m.frameworksJSON, "tasks": m.tasksJSON,
	} {
		for _, prefix := range []string{"/", "/master/"} {
			h := m.leaderOnly(i, prefix+path, func(w http.ResponseWriter, r *http.Request) { writeJSON(w, state()) })
			mux.HandleFunc("GET "+prefix+path, h)
			mux.HandleFunc("GET "+prefix+path+".json", h)
		}
	}
	redirect := func(w http.ResponseWriter, r *http.Request) { m.redirect(w, "") }
	health := func(w http.ResponseWriter, r *http.Request) {}
	metrics := func(w http.ResponseWriter, r *http.Request) { writeJSON(w, m.metricsJSON(i)) }
	for _, prefix := range []string{"", "/master"} {
		mux.HandleFunc("GET "+prefix+"/redirect", redirect)
		mux.HandleFunc("GET "+prefix+"/health", health)
	}
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, versionJSON()) })
	mux.HandleFunc("GET /metrics/snapshot", metrics)
	mux.HandleFunc("GET /files/read", m.readFile)
	mux.HandleFunc("GET /files/browse", m.browseFiles)
	mux.HandleFunc("GET /files/download", m.downloadFile)
	mux.HandleFunc("GET /{agent}/state", m.agentState)
	return &server{addr: addr, http: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 30 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}}
}

// leaderOnly sends clients of a master that does not lead to the one that does.
func (m *Mesos) leaderOnly(i int, path string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		leads, closed := m.leader == i, m.closed
		m.mu.Unlock()
		switch {
		case closed:
			plain(w, http.StatusServiceUnavailable, "Master is stopping")
		case leads:
			h(w, r)
		default:
			m.redirect(w, path)
		}
	}
}

func (m *Mesos) redirect(w http.ResponseWriter, path string) {
	m.mu.Lock()
	leader := m.leader
	m.mu.Unlock()
	if leader < 0 {
		plain(w, http.StatusServiceUnavailable, "No leader elected")
		return
	}
	// Without a scheme, as Mesos does it (RFC 7231 section 7.1.2 allows that).
	w.Header().Set("Location", "//"+m.servers[leader].addr+path)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

var agentName = regexp.MustCompile(`^slave\(([0-9]{1,4})\)$`)

func (m *Mesos) agentState(w http.ResponseWriter, r *http.Request) {
	match := agentName.FindStringSubmatch(r.PathValue("agent"))
	if match == nil {
		http.NotFound(w, r)
		return
	}
	n, _ := strconv.Atoi(match[1]) // digits, by the pattern
	m.mu.Lock()
	defer m.mu.Unlock()
	if n < 1 || n > len(m.agents) {
		http.NotFound(w, r)
		return
	}
	writeJSON(w, m.agentStateJSON(m.agents[n-1]))
}
