package ui

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// visit is one request for a page.
type visit struct {
	*Pages
	r           *http.Request
	consistency dispatcher.Consistency
	view        *fsm.View
	members     dispatcher.Cluster
	title       string
	search      string // what stands in the search field
}

// problem is why a page cannot be shown, in words for its reader.
type problem struct {
	Status int
	Text   string
	Hint   string
	Link   string // where to go on, below the root of the pages
	LinkTo string // and what is there
}

func (e *problem) Error() string { return e.Text }

// page makes a handler that fills the template of that name with what build
// returns.
func (p *Pages) page(name string, build func(*visit) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Pages: p, r: r, title: p.cfg.Title}
		status, use := http.StatusOK, name
		err := v.read()
		var body any
		if err == nil {
			body, err = build(v)
		}
		if err != nil {
			if r.Context().Err() != nil {
				return // nobody reads it any more
			}
			why := v.explain(err)
			status, use, body, v.title = why.Status, "problem", why, http.StatusText(why.Status)
		}
		var out bytes.Buffer
		if err := templates[use].ExecuteTemplate(&out, "layout", v.frame(use, body)); err != nil {
			p.cfg.Logger.Error("a page could not be made", "page", use, "error", err)
			http.Error(w, "the page could not be made; the log of the node says why", http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
		h.Set("Content-Length", strconv.Itoa(out.Len()))
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			w.Write(out.Bytes())
		}
	})
}

// read takes the view that the whole page is made of. Whatever goes wrong, there
// is one: the stale one of this node.
func (v *visit) read() (err error) {
	ctx := v.r.Context()
	if v.view, err = v.d.View(ctx, dispatcher.Stale); err != nil {
		return err
	}
	if v.members, err = v.d.Cluster(ctx); err != nil {
		return err
	}
	switch asked := v.r.URL.Query().Get("consistency"); asked {
	case "", "stale":
		v.consistency = dispatcher.Stale
		return nil
	case "linearizable":
		v.consistency = dispatcher.Linearizable
	default:
		return &problem{Status: http.StatusBadRequest,
			Text: "consistency must be 'linearizable' or 'stale', not '" + clip(asked) + "'"}
	}
	fresh, err := v.d.View(ctx, dispatcher.Linearizable)
	if err != nil {
		v.consistency = dispatcher.Stale
		return &problem{
			Status: http.StatusServiceUnavailable,
			Text:   "A linearizable read needs the leader: " + err.Error(),
			Hint:   "A stale read shows what this node has applied, without asking the others.",
			Link:   v.with("consistency", ""), LinkTo: "Show the stale page",
		}
	}
	v.view = fresh
	return nil
}

func (v *visit) explain(err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{Status: http.StatusServiceUnavailable, Text: "This took too long: " + err.Error(), Hint: "Load the page again."}
	}
	v.cfg.Logger.Error("a page could not be shown", "path", clip(v.r.URL.Path), "error", err)
	return &problem{Status: http.StatusInternalServerError, Text: err.Error(), Hint: "The log of the node has more."}
}

func (v *visit) nowhere() (any, error) {
	return nil, &problem{Status: http.StatusNotFound, Text: "There is no page " + clip(v.r.URL.Path),
		Link: "./", LinkTo: "Back to Drivers"}
}

// root leads from the page to the first one. Links are relative so that the
// pages work behind a proxy that puts them under a path of its own.
func (v *visit) root() string {
	if depth := strings.Count(v.r.URL.Path, "/") - 1; depth > 0 && depth < 10 {
		return strings.Repeat("../", depth)
	}
	return "./"
}

// with is the address of this page with one parameter changed, seen from root;
// an empty value takes it out.
func (v *visit) with(name, value string) string {
	q := v.r.URL.Query()
	q.Del(name)
	if value != "" {
		q.Set(name, value)
	}
	path := strings.TrimPrefix(v.r.URL.EscapedPath(), "/")
	if path == "" {
		path = "./"
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// clip bounds what a page repeats of a request.
func clip(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
