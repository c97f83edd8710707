package localmesos

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gogo/protobuf/proto"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// refusal is an HTTP error of the scheduler API; the text is Mesos' own.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func badRequest(format string, args ...any) error {
	return refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// schedulerAPI serves POST /api/v1/scheduler (src/master/http.cpp, the same
// checks in the same order).
func (m *Mesos) schedulerAPI(w http.ResponseWriter, r *http.Request) {
	principal, err := m.authenticate(w, r)
	if err == nil {
		err = m.checkMethod(w, r)
	}
	var call *scheduler.Call
	if err == nil {
		call, err = readCall(w, r)
	}
	if err == nil {
		err = validateCall(call, principal)
	}
	if err == nil {
		err = m.answerCall(w, r, call, principal)
	}
	var no refusal
	if errors.As(err, &no) {
		plain(w, no.status, no.text)
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // an error means that the client is gone
}

func (m *Mesos) authenticate(w http.ResponseWriter, r *http.Request) (principal string, err error) {
	if len(m.opts.Credentials) == 0 {
		return "", nil
	}
	name, secret, ok := r.BasicAuth()
	want, known := m.opts.Credentials[name]
	if !ok || !known || subtle.ConstantTimeCompare([]byte(secret), []byte(want)) != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="mesos-master-scheduler"`)
		return "", refusal{http.StatusUnauthorized, ""}
	}
	return name, nil
}

func (m *Mesos) checkMethod(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return nil
	}
	w.Header().Set("Allow", http.MethodPost)
	return refusal{http.StatusMethodNotAllowed, fmt.Sprintf(
		"405 Method Not Allowed. Expecting one of { 'POST' }, but received '%s'.", r.Method)}
}

// decodeCall reads the one call of a request, of either media type. Of JSON
// probe, where given, sees the text as well.
func decodeCall(w http.ResponseWriter, r *http.Request, call proto.Message, probe func([]byte) error) error {
	contentType := r.Header.Get("Content-Type")
	switch encoding.MediaType(contentType) {
	case codecs.MediaTypeJSON, codecs.MediaTypeProtobuf:
	case "":
		return badRequest("Expecting 'Content-Type' to be present")
	default:
		return refusal{http.StatusUnsupportedMediaType,
			"Expecting 'Content-Type' of application/json or application/x-protobuf"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallBytes))
	if err != nil {
		if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
			return refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("Body exceeds %d bytes", maxCallBytes)}
		}
		return badRequest("Failed to read body: %v", err)
	}
	if contentType == string(codecs.MediaTypeProtobuf) {
		if err := proto.Unmarshal(body, call); err != nil {
			return badRequest("Failed to parse body into Call protobuf")
		}
		return nil
	}
	// ffjson is lenient; the standard library says first whether it is JSON.
	if !json.Valid(body) {
		return badRequest("Failed to parse body into JSON: syntax error")
	}
	if err := json.Unmarshal(body, call); err != nil {
		return badRequest("Failed to convert JSON into Call protobuf: %v", err)
	}
	if probe != nil {
		return probe(body)
	}
	return nil
}

func readCall(w http.ResponseWriter, r *http.Request) (*scheduler.Call, error) {
	call := &scheduler.Call{}
	return call, decodeCall(w, r, call, requireFields)
}

// requireFields looks for what mesos-go's decoder does not miss.
func requireFields(body []byte) error {
	var probe struct {
		Subscribe *struct {
			Info map[string]json.RawMessage `json:"framework_info"`
		} `json:"subscribe"`
	}
	if err := json.Unmarshal(body, &probe); err != nil {
		return badRequest("Failed to convert JSON into Call protobuf: %v", err)
	}
	if probe.Subscribe == nil {
		return nil
	}
	for _, field := range []string{"user", "name"} {
		if _, ok := probe.Subscribe.Info[field]; !ok {
			return badRequest("Failed to convert JSON into Call protobuf: Missing required fields: subscribe.framework_info.%s", field)
		}
	}
	return nil
}

// validateCall is mesos' validation::scheduler::call::validate.
func validateCall(call *scheduler.Call, principal string) error {
	if missing := missingPart(call); missing != "" {
		return badRequest("Failed to validate scheduler::Call: Expecting '%s' to be present", missing)
	}
	if call.Type != scheduler.Call_SUBSCRIBE {
		return nil
	}
	info := call.Subscribe.FrameworkInfo
	if info.GetID().GetValue() != call.GetFrameworkID().GetValue() {
		return badRequest("Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'")
	}
	if principal != "" && info.Principal != nil && info.GetPrincipal() != principal {
		return badRequest("Failed to validate scheduler::Call: Authenticated principal '%s' does not match principal '%s' set in `FrameworkInfo`",
			principal, info.GetPrincipal())
	}
	return nil
}

func missingPart(c *scheduler.Call) string {
	present := true
	switch c.Type {
	case scheduler.Call_UNKNOWN:
		return "type"
	case scheduler.Call_SUBSCRIBE:
		if c.Subscribe == nil {
			return "subscribe"
		}
		if c.Subscribe.FrameworkInfo == nil {
			return "subscribe.framework_info"
		}
		return ""
	case scheduler.Call_ACCEPT:
		present = c.Accept != nil
	case scheduler.Call_DECLINE:
		present = c.Decline != nil
	case scheduler.Call_KILL:
		present = c.Kill != nil
	case scheduler.Call_SHUTDOWN:
		present = c.Shutdown != nil
	case scheduler.Call_ACKNOWLEDGE:
		present = c.Acknowledge != nil
	case scheduler.Call_RECONCILE:
		present = c.Reconcile != nil
	case scheduler.Call_MESSAGE:
		present = c.Message != nil
	case scheduler.Call_UPDATE_FRAMEWORK:
		present = c.UpdateFramework != nil
	}
	if c.GetFrameworkID() == nil {
		return "framework_id"
	}
	if !present {
		return strings.ToLower(c.Type.String())
	}
	return ""
}

func (m *Mesos) answerCall(w http.ResponseWriter, r *http.Request, call *scheduler.Call, principal string) error {
	var media encoding.MediaType
	if call.Type == scheduler.Call_SUBSCRIBE {
		if media = acceptable(r.Header.Values("Accept")); media == "" {
			return refusal{http.StatusNotAcceptable,
				"Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"}
		}
		if r.Header.Get("Mesos-Stream-Id") != "" {
			return badRequest("Subscribe calls should not include the 'Mesos-Stream-Id' header")
		}
		if info := call.Subscribe.FrameworkInfo; principal != "" && info.Principal == nil {
			info.Principal = &principal
		}
	}
	action, err := m.callFault(r, call)
	if err != nil {
		return err
	}
	if call.Type == scheduler.Call_SUBSCRIBE && action != Drop {
		s := newStream(media)
		m.mu.Lock()
		f := m.subscribe(call.Subscribe, s)
		m.mu.Unlock()
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.disconnected(f, s)
		}()
		s.serve(w, r.Context().Done(), m.opts.HeartbeatInterval)
		return nil
	}
	if action != Drop {
		if err := m.obey(r, call, principal); err != nil {
			return err
		}
	}
	if action == LoseAnswer {
		panic(http.ErrAbortHandler)
	}
	if call.Type == scheduler.Call_UPDATE_FRAMEWORK {
		return nil // 200: this one is done by now
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (m *Mesos) callFault(r *http.Request, call *scheduler.Call) (Action, error) {
	m.mu.Lock()
	hook, released := m.faults.Call, m.released
	m.mu.Unlock()
	if hook == nil {
		return Pass, nil
	}
	action := hook(call)
	switch action {
	case Refuse:
		return action, refusal{http.StatusServiceUnavailable, "Master has not finished recovery"}
	case Hold:
		select {
		case <-released:
		case <-r.Context().Done():
		case <-m.ctx.Done():
			return action, refusal{http.StatusServiceUnavailable, "Master is stopping"}
		}
	}
	return action, nil
}

// obey checks that the call comes from the subscribed scheduler, and does it.
func (m *Mesos) obey(r *http.Request, call *scheduler.Call, principal string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := call.GetFrameworkID().GetValue()
	f := m.master.frameworks[id]
	switch {
	case f == nil:
		return badRequest("Framework cannot be found")
	case principal != "" && f.info.GetPrincipal() != principal:
		return badRequest("Authenticated principal '%s' does not match principal '%s' set in `FrameworkInfo`",
			principal, f.info.GetPrincipal())
	case f.stream == nil:
		return refusal{http.StatusForbidden, "Framework is not subscribed"}
	}
	switch streamID := r.Header.Get("Mesos-Stream-Id"); streamID {
	case "":
		return badRequest("All non-subscribe calls should include the 'Mesos-Stream-Id' header")
	case f.stream.id:
		return m.dispatch(f, call)
	default:
		return badRequest("The stream ID '%s' included in this request didn't match the stream ID currently associated with framework ID %s",
			streamID, id)
	}
}

// acceptable picks the media type of the events: JSON where both would do.
func acceptable(accept []string) encoding.MediaType {
	if len(accept) == 0 {
		return codecs.MediaTypeJSON
	}
	var protobuf bool
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, params, _ := strings.Cut(item, ";")
		if strings.ReplaceAll(params, " ", "") == "q=0" {
			continue
		}
		switch strings.TrimSpace(media) {
		case "*/*", "application/*", string(codecs.MediaTypeJSON):
			return codecs.MediaTypeJSON
		case string(codecs.MediaTypeProtobuf):
			protobuf = true
		}
	}
	if protobuf {
		return codecs.MediaTypeProtobuf
	}
	return ""
}
