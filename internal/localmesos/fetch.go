package localmesos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// fetchAll brings the URIs of a command into its sandbox, in order.
func fetchAll(ctx context.Context, uris []mesos.CommandInfo_URI, sandbox string) error {
	if len(uris) == 0 {
		return nil
	}
	root, err := os.OpenRoot(sandbox)
	if err != nil {
		return fmt.Errorf("Failed to fetch all URIs: %w", err)
	}
	defer root.Close()
	for i := range uris {
		if err := fetch(ctx, &uris[i], root); err != nil {
			return fmt.Errorf("Failed to fetch all URIs: '%s': %w", redacted(uris[i].Value), err)
		}
	}
	return nil
}

// redacted is a URI without its password and its query, where tokens and
// signatures are: the message goes to the framework, and into its logs.
func redacted(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "a malformed URI"
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

func fetch(ctx context.Context, uri *mesos.CommandInfo_URI, root *os.Root) error {
	name, err := outputName(uri)
	if err != nil {
		return err
	}
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	source, err := openURI(ctx, uri.Value)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := writeFile(ctx, root, name, source, 0o644); err != nil {
		return err
	}
	switch {
	case uri.GetExecutable(): // never extracted
		return root.Chmod(name, 0o755)
	case uri.Extract == nil || *uri.Extract:
		return extract(ctx, root, name)
	}
	return nil
}

// outputName is where a URI goes in the sandbox.
func outputName(uri *mesos.CommandInfo_URI) (string, error) {
	name := uri.GetOutputFile()
	if name == "" {
		p := uri.Value
		if u, err := url.Parse(uri.Value); err == nil && u.Scheme != "" && u.Scheme != "file" {
			p = u.Path
		}
		name = path.Base(strings.TrimPrefix(p, "file://"))
	}
	if !filepath.IsLocal(name) || name == "." {
		return "", fmt.Errorf("%q is not a file name within the sandbox", name)
	}
	return name, nil
}

func openURI(ctx context.Context, value string) (io.ReadCloser, error) {
	scheme, rest, ok := strings.Cut(value, "://")
	if !ok {
		scheme, rest = "file", value
	}
	switch scheme {
	case "file":
		return openLocal(strings.TrimPrefix(rest, "localhost"))
	case "http", "https":
		return openHTTP(ctx, value)
	}
	return nil, fmt.Errorf("the embedded Mesos fetches file, http and https URIs, not %q", scheme)
}

func openLocal(p string) (io.ReadCloser, error) {
	if !filepath.IsAbs(p) {
		return nil, fmt.Errorf("a local path must be absolute")
	}
	info, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file")
	}
	return os.Open(p)
}

func openHTTP(ctx context.Context, value string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, value, nil)
	if err != nil {
		return nil, errors.New("this is no URL") // err repeats it, with its secrets
	}
	// A transport of its own leaves no idle connection behind.
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		return nil, failed.Err // without the URL
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	return resp.Body, nil
}

// writeFile copies r to a file in the sandbox, until ctx ends.
func writeFile(ctx context.Context, root *os.Root, name string, r io.Reader, mode os.FileMode) (err error) {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	_, err = io.Copy(f, contextReader{ctx, r})
	return err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
