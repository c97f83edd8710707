package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// templates by the name of the page; each holds the layout with its own body.
var templates = func() map[string]*template.Template {
	layout := template.Must(template.New("").Funcs(template.FuncMap{
		"grouped": func(n any) string {
			switch n := n.(type) {
			case uint64:
				return grouped(n)
			case int:
				return grouped(n)
			}
			return ""
		},
	}).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html"))
	pages := make(map[string]*template.Template)
	for _, name := range []string{"index", "drivers", "driver", "cluster", "problem"} {
		page := template.Must(layout.Clone())
		pages[name] = template.Must(page.ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return pages
}()

type staticFile struct {
	content []byte
	mime    string
	tag     string // of the content
}

var static = func() map[string]staticFile {
	files := make(map[string]staticFile)
	for name, mime := range map[string]string{
		"style.css": "text/css; charset=utf-8", "refresh.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		content, err := fs.ReadFile(staticFiles, "static/"+name)
		if err != nil {
			panic(err) // the file is part of the program
		}
		sum := sha256.Sum256(content)
		files[name] = staticFile{content, mime, hex.EncodeToString(sum[:8])}
	}
	return files
}()

// staticURL is the address of a file below the root of the pages. It changes
// with the content, so browsers may keep the file for ever.
func staticURL(name string) string { return "static/" + name + "?v=" + static[name].tag }

func serveStatic(w http.ResponseWriter, r *http.Request) {
	f, found := static[r.PathValue("file")]
	if !found {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Etag", `"`+f.tag+`"`)
	if r.URL.Query().Get("v") == f.tag {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	if r.Header.Get("If-None-Match") == `"`+f.tag+`"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.mime)
	h.Set("Content-Length", strconv.Itoa(len(f.content)))
	if r.Method != http.MethodHead {
		w.Write(f.content)
	}
}
