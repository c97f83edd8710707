package ui

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Dispatcher is what the pages ask; *dispatcher.Leader, which a node has
// whether it leads or not, is one. All methods may be called concurrently.
type Dispatcher interface {
	// View is the state. A Stale one does not wait and does not fail.
	View(ctx context.Context, c dispatcher.Consistency) (*fsm.View, error)
	// Description decodes what was submitted, secrets included.
	Description(d *fsm.Driver) (*launch.Description, error)
	Cluster(ctx context.Context) (dispatcher.Cluster, error)
	// Redaction tells which properties are secret; nil hides nothing.
	Redaction() *regexp.Regexp
	// Status is how this node gets on with Mesos if it leads.
	Status() dispatcher.LeaderStatus
}

// Config of the pages. The zero value of a field means its default.
type Config struct {
	// NodeID of the node that serves the pages.
	NodeID string
	// Title of the first page. Default upstream's, "Spark Drivers for Mesos cluster".
	Title string
	// Version of the program, for the foot of the pages.
	Version string
	// RESTURL is where drivers are submitted, for the lines that tell how.
	RESTURL string
	// HistoryServerURL is spark.mesos.dispatcher.historyServer.url; empty: no
	// links to a history server.
	HistoryServerURL string
	// ProxyBaseURL is spark.mesos.proxy.baseURL, the web UI of Mesos as a browser
	// reaches it; empty: no links to sandboxes.
	ProxyBaseURL string
	// Location of the times shown; default time.Local. Each has its zone in the
	// machine-readable form.
	Location *time.Location
	Clock    func() time.Time
	Logger   *slog.Logger
}

// Validate refuses links that a browser could not follow or should not. They
// are http or https URLs, or paths on the host of the pages.
func (c Config) Validate() error {
	for _, link := range []struct{ key, value string }{
		{"spark.mesos.dispatcher.historyServer.url", c.HistoryServerURL},
		{"spark.mesos.proxy.baseURL", c.ProxyBaseURL},
	} {
		if link.value != "" && !followable(link.value) {
			return fmt.Errorf("%s: %q is not allowed: use an http:// or https:// URL", link.key, link.value)
		}
	}
	return nil
}

func followable(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	if u.Scheme == "" && u.Host == "" {
		return strings.HasPrefix(u.Path, "/")
	}
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func (c Config) withDefaults() Config {
	if c.Title == "" {
		c.Title = "Spark Drivers for Mesos cluster"
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.HistoryServerURL = strings.TrimRight(c.HistoryServerURL, "/")
	c.ProxyBaseURL = strings.TrimRight(c.ProxyBaseURL, "/")
	return c
}

// Pages serves the web pages. It is safe for concurrent use and keeps nothing
// between requests.
type Pages struct {
	cfg Config
	d   Dispatcher
	mux *http.ServeMux
}

var _ http.Handler = (*Pages)(nil)

// New makes the pages of a node. The error is that of Config.Validate.
func New(cfg Config, d Dispatcher) (*Pages, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Pages{cfg: cfg.withDefaults(), d: d, mux: http.NewServeMux()}
	p.mux.Handle("/{$}", p.page("index", (*visit).index))
	p.mux.Handle("/drivers", p.page("drivers", (*visit).drivers))
	p.mux.Handle("/driver", p.page("driver", (*visit).driver))
	p.mux.Handle("/driver/{$}", p.page("driver", (*visit).driver))
	p.mux.Handle("/driver/{id}", p.page("driver", (*visit).driver))
	p.mux.Handle("/cluster", p.page("cluster", (*visit).cluster))
	p.mux.HandleFunc("/static/{file}", serveStatic)
	p.mux.Handle("/", p.page("problem", (*visit).nowhere))
	return p, nil
}

// policy lets a page load what this host serves and nothing else, so that a
// text that got past the escaping would still be no program.
const policy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// maxWrite bounds how long a client may take to read one page.
const maxWrite = 30 * time.Second

// ServeHTTP answers GET and HEAD.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	// It fails on writers that have no deadline; those of tests.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxWrite))
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the pages only show: use GET or HEAD here, and the REST port to submit and kill", http.StatusMethodNotAllowed)
		return
	}
	p.mux.ServeHTTP(w, r)
}
