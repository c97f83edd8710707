package mesosutil

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/encoding"
)

const (
	schedulerPath   = "/api/v1/scheduler"
	streamIDHeader  = "Mesos-Stream-Id"
	maxErrorText    = 4 << 10
	maxStreamIDSize = 256
)

// driverWire speaks HTTP: requests out, answers in, no state of its own but
// the idle connections.
type driverWire struct {
	client      *http.Client
	codec       encoding.Codec
	scheme      string
	credentials *Credentials
}

func newDriverWire(cfg DriverConfig, codec encoding.Codec, scheme string) *driverWire {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: cfg.CallTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: cfg.CallTimeout,
		MaxIdleConnsPerHost: 16, // as many calls at a time without dialling anew
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // gzip would hold events back in its window
	}
	if cfg.TLS != nil {
		transport.TLSClientConfig = cfg.TLS.Clone()
	}
	return &driverWire{
		codec: codec, scheme: scheme, credentials: cfg.Credentials,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (w *driverWire) close() { w.client.CloseIdleConnections() }

// endpoint is the URL of the scheduler API of a master given as host:port or
// with a scheme.
func (w *driverWire) endpoint(master string) string {
	if !strings.Contains(master, "://") {
		master = w.scheme + "://" + master
	}
	return strings.TrimSuffix(master, "/") + schedulerPath
}

func baseURL(endpoint string) string { return strings.TrimSuffix(endpoint, schedulerPath) }

func (w *driverWire) request(ctx context.Context, endpoint, streamID string, call encoding.Marshaler) (*http.Request, error) {
	var body bytes.Buffer
	if err := w.codec.NewEncoder(encoding.SinkWriter(&body)).Encode(call); err != nil {
		return nil, fmt.Errorf("encoding %T: %w", call, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, &body)
	if err != nil {
		return nil, err
	}
	mediaType := w.codec.Type.ContentType()
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("Accept", mediaType)
	if streamID != "" {
		req.Header.Set(streamIDHeader, streamID)
	}
	if secret := w.credentials.Secret(); secret != "" {
		req.SetBasicAuth(w.credentials.Principal(), secret)
	}
	return req, nil
}

// checkStream returns the stream id of a 200 answer to SUBSCRIBE.
func (w *driverWire) checkStream(resp *http.Response) (string, error) {
	got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if want := w.codec.Type.ContentType(); got != want {
		return "", fmt.Errorf("the answer to SUBSCRIBE is %q, not %q: is this a Mesos master?", got, want)
	}
	id := resp.Header.Get(streamIDHeader)
	if id == "" || len(id) > maxStreamIDSize {
		return "", errors.New("the answer to SUBSCRIBE carries no usable " + streamIDHeader)
	}
	return id, nil
}

// redirect reads where a 307 leads. Masters write //host:port/path; the scheme
// stays that of the request, and a secret never goes from https to http.
func (w *driverWire) redirect(resp *http.Response) (string, error) {
	location := resp.Header.Get("Location")
	target, err := url.Parse(location)
	if err != nil || target.Opaque != "" {
		target, err = url.Parse("//" + location) // bare host:port
	}
	if err != nil || location == "" {
		return "", fmt.Errorf("redirected to %q, which is no URL", location)
	}
	from := resp.Request.URL
	target = from.ResolveReference(target)
	switch {
	case target.Host == "" || (target.Scheme != "http" && target.Scheme != "https"):
		return "", fmt.Errorf("redirected to %q, which is no http URL", location)
	case from.Scheme == "https" && target.Scheme == "http" && w.credentials.Secret() != "":
		return "", fmt.Errorf("redirected from https to %q: the secret is not sent in the clear", location)
	}
	// Mesos keeps the path (/master/api/v1/scheduler is the same resource).
	return target.Scheme + "://" + target.Host + schedulerPath, nil
}

// errorText is what the master says, on one line.
func errorText(body io.Reader) string {
	raw, _ := io.ReadAll(io.LimitReader(body, maxErrorText))
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(raw), "?")), " ")
}
