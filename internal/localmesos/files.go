package localmesos

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const maxReadLength = 16 * 4096 // of one /files/read, as Mesos has it (16 pages)

// inWorkDir turns the path of a files request into one below WorkDir: either
// absolute and there, or Mesos' virtual /frameworks/F/executors/E/runs/R/….
// os.Root sees to it that no link leads out.
func (m *Mesos) inWorkDir(p string) (string, error) {
	if p == "" {
		return "", refusal{http.StatusBadRequest, "Expecting 'path=value' in query.\n"}
	}
	if rel, err := filepath.Rel(m.workDir, path.Clean(p)); err == nil && filepath.IsLocal(rel) {
		return rel, nil
	}
	if rest, ok := strings.CutPrefix(path.Clean("/"+p), "/frameworks/"); ok {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, a := range m.agents {
			rel := path.Join("slaves", a.id, "frameworks", rest)
			if _, err := m.files.Stat(rel); err == nil {
				return rel, nil
			}
		}
	}
	return "", refusal{http.StatusNotFound, ""}
}

func fileError(w http.ResponseWriter, err error) {
	var no refusal
	switch {
	case errors.As(err, &no):
		plain(w, no.status, no.text)
	case errors.Is(err, fs.ErrNotExist):
		plain(w, http.StatusNotFound, "")
	default:
		plain(w, http.StatusBadRequest, "Cannot read that path.\n")
	}
}

// readFile answers {"data": …, "offset": …}; offset -1 asks for the size only.
func (m *Mesos) readFile(w http.ResponseWriter, r *http.Request) {
	doc, err := m.fileContent(r)
	if err != nil {
		fileError(w, err)
		return
	}
	writeJSON(w, doc)
}

func (m *Mesos) fileContent(r *http.Request) (object, error) {
	offset, err := number(r, "offset", -1)
	if err != nil {
		return nil, err
	}
	length, err := number(r, "length", maxReadLength)
	if err != nil {
		return nil, err
	}
	rel, err := m.inWorkDir(r.URL.Query().Get("path"))
	if err != nil {
		return nil, err
	}
	f, err := m.files.Open(rel)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, refusal{http.StatusBadRequest, "Cannot read from a directory.\n"}
	}
	if offset == -1 {
		return object{"data": "", "offset": info.Size()}, nil
	}
	if length < 0 || length > maxReadLength {
		length = maxReadLength
	}
	data := make([]byte, length)
	n, err := f.ReadAt(data, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return object{"data": string(data[:n]), "offset": offset}, nil
}

func number(r *http.Request, name string, otherwise int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < -1 {
		return 0, refusal{http.StatusBadRequest, fmt.Sprintf("Failed to parse %s: '%s' is not a number of -1 or more.\n", name, text)}
	}
	return n, nil
}

func (m *Mesos) browseFiles(w http.ResponseWriter, r *http.Request) {
	rel, err := m.inWorkDir(r.URL.Query().Get("path"))
	if err != nil {
		fileError(w, err)
		return
	}
	entries, err := fs.ReadDir(m.files.FS(), filepath.ToSlash(rel))
	if err != nil {
		fileError(w, err)
		return
	}
	list := []object{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			list = append(list, object{"path": filepath.Join(m.workDir, rel, e.Name()), "size": info.Size(), "nlink": 1,
				"mode": info.Mode().String(), "mtime": unixSeconds(info.ModTime()), "uid": "", "gid": ""})
		}
	}
	writeJSON(w, list)
}

func (m *Mesos) downloadFile(w http.ResponseWriter, r *http.Request) {
	rel, err := m.inWorkDir(r.URL.Query().Get("path"))
	if err != nil {
		fileError(w, err)
		return
	}
	http.ServeFileFS(w, r, m.files.FS(), filepath.ToSlash(rel))
}
