package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// access that a route asks for.
type access int

const (
	accessRead access = iota
	accessWrite
	accessNone // tells nothing that is not public
)

// route is one resource. Spark's server has rules for paths that no pattern
// of net/http expresses (trailing segments, doubled slashes), so paths are
// matched here.
type route struct {
	name     string
	path     string // "{id}" takes one segment; in Spark's only in the last place
	access   access
	readable bool // GET and HEAD ask for no more than accessRead
	methods  map[string]func(*exchange)
	allow    string
	spark    bool // of Spark's protocol: anything may follow the path
	stream   bool // does not end by itself
}

const errorRoute = "error"

// table is every route. docs/openapi.yaml describes the same ones; a test
// compares.
func (s *Server) table() []*route {
	routes := []*route{
		{name: "create", path: "/v1/submissions/create", access: accessWrite, methods: onPost((*exchange).create), spark: true},
		{name: "kill", path: "/v1/submissions/kill/{id}", access: accessWrite, methods: onPost((*exchange).kill), spark: true},
		{name: "status", path: "/v1/submissions/status/{id}", methods: onGet((*exchange).submissionStatus), spark: true},
		{name: "drivers", path: "/v1/drivers", methods: onGet((*exchange).listDrivers)},
		{name: "driver", path: "/v1/drivers/{id}", methods: onGet((*exchange).getDriver)},
		{name: "events", path: "/v1/events", stream: true, methods: map[string]func(*exchange){http.MethodGet: (*exchange).events}},
		{name: "cluster", path: "/v1/cluster", methods: onGet((*exchange).cluster)},
		{name: "join", path: "/v1/cluster/join", access: accessWrite, methods: onPost((*exchange).join)},
		{name: "remove", path: "/v1/cluster/remove", access: accessWrite, methods: onPost((*exchange).remove)},
		{name: "transfer", path: "/v1/cluster/transfer", access: accessWrite, methods: onPost((*exchange).transfer)},
		{name: "reset-framework", path: "/v1/cluster/reset-framework", access: accessWrite, methods: onPost((*exchange).resetFramework)},
		{name: "snapshot", path: "/v1/cluster/snapshot", access: accessWrite, methods: map[string]func(*exchange){http.MethodGet: (*exchange).saveSnapshot}},
		{name: "restore", path: "/v1/cluster/restore", access: accessWrite, methods: onPost((*exchange).restoreSnapshot)},
		{name: "import", path: "/v1/admin/import", access: accessWrite, methods: onPost((*exchange).importDrivers)},
	}
	routes = append(routes, appRoutes()...)
	routes = append(routes, &route{name: errorRoute, path: "", access: accessNone}) // takes whatever is left
	for _, r := range routes {
		r.allow = allowed(r.methods)
	}
	return routes
}

func onGet(f func(*exchange)) map[string]func(*exchange) {
	return map[string]func(*exchange){http.MethodGet: f, http.MethodHead: f}
}

func onPost(f func(*exchange)) map[string]func(*exchange) {
	return map[string]func(*exchange){http.MethodPost: f}
}

// accessFor is what a request with this method needs.
func (r *route) accessFor(method string) access {
	if r.readable && (method == http.MethodGet || method == http.MethodHead) {
		return accessRead
	}
	return r.access
}

func allowed(methods map[string]func(*exchange)) string {
	names := []string{http.MethodOptions}
	for m := range methods {
		names = append(names, m)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// match finds the route of an escaped path, and what stands in place of {id}.
func (s *Server) match(path string) (*route, string) {
	if strings.Contains(path, "/.") {
		path = withoutDots(path)
	}
	for _, r := range s.routes {
		if r.path == "" {
			return r, path
		}
		if arg, ok := r.match(path); ok {
			return r, arg
		}
	}
	return nil, "" // not reached: the last route takes all
}

func (r *route) match(path string) (arg string, ok bool) {
	fixed, tail, takesID := strings.Cut(r.path, "/{id}")
	rest, found := strings.CutPrefix(path, fixed)
	if !found || rest != "" && rest[0] != '/' {
		return "", false
	}
	if !r.spark {
		return r.matchOurs(rest, tail, takesID)
	}
	if !takesID || rest == "" {
		return "", true
	}
	segment, _, _ := strings.Cut(rest[1:], "/")
	return unescape(segment), true
}

// matchOurs wants exactly the path, with what follows the id; one slash may
// follow it.
func (r *route) matchOurs(rest, tail string, takesID bool) (string, bool) {
	rest = strings.Trim(rest, "/")
	if !takesID {
		return "", rest == ""
	}
	segment, found := strings.CutSuffix(rest, tail)
	return unescape(segment), found && segment != "" && !strings.Contains(segment, "/")
}

func unescape(segment string) string {
	if !strings.Contains(segment, "%") {
		return strings.ToValidUTF8(segment, "\uFFFD")
	}
	plain, err := url.PathUnescape(segment)
	if err != nil {
		plain = segment
	}
	return strings.ToValidUTF8(plain, "\uFFFD")
}

// withoutDots resolves "." and ".." and, unlike path.Clean, keeps doubled
// slashes, which mean an empty id.
func withoutDots(path string) string {
	var kept []string
	for _, segment := range strings.Split(path, "/") {
		switch segment {
		case ".":
		case "..":
			if len(kept) > 1 {
				kept = kept[:len(kept)-1]
			}
		default:
			kept = append(kept, segment)
		}
	}
	return strings.Join(kept, "/")
}

// dispatch calls the handler of the request's method.
func (x *exchange) dispatch() {
	if x.route.methods == nil {
		x.fail(pathFailure(x.arg))
		return
	}
	if h, ok := x.route.methods[x.r.Method]; ok {
		h(x)
		return
	}
	x.w.Header().Set("Allow", x.route.allow)
	if x.r.Method == http.MethodOptions {
		x.reply(http.StatusOK, nil)
		return
	}
	x.fail(&failure{
		status:  http.StatusMethodNotAllowed,
		message: "Method " + clip(x.r.Method) + " is not allowed here; use " + x.route.allow + ".",
	})
}

// ownPrefixes are the collections under /v1 that Spark does not have.
var ownPrefixes = []string{"apps", "drivers", "events", "cluster", "admin"}

// pathFailure is what Spark's server says of a path that it does not serve.
func pathFailure(path string) *failure {
	const hint = " Please submit requests through http://[host]:[port]/v1/submissions/..."
	var parts []string
	for _, p := range strings.Split(path, "/") {
		if p != "" {
			parts = append(parts, unescape(p))
		}
	}
	f := &failure{status: http.StatusBadRequest}
	switch {
	case len(parts) == 0:
		f.message = "Missing protocol version." + hint
	case parts[0] == "v1" && len(parts) == 1:
		f.message = "Missing the /submissions prefix." + hint
	case parts[0] == "v1" && parts[1] == "submissions":
		f.message = "Missing an action: please specify one of /create, /kill, or /status." + hint
	case parts[0] == "v1" && slices.Contains(ownPrefixes, parts[1]):
		f.status = http.StatusNotFound
		f.message = "There is nothing at this path; /v1/" + parts[1] + " has others, which docs/openapi.yaml describes."
	default:
		f.status = statusUnknownProtocol
		f.highest = "v1"
		f.message = "Unknown protocol version '" + clip(parts[0]) + "'." + hint
	}
	return f
}

// clip shortens what a client sent before it is sent back.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
