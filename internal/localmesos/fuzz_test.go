package localmesos

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
)

func FuzzParseResources(f *testing.F) {
	for _, seed := range []string{"cpus:4;mem:4096;disk:8192;ports:[31000-31999, 5]", "cpus(eng):1.5;z:{a,b}", "cpus:-1", "a(:[", "x:[9-1]", ";;", "n:1e309"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := parseResources(text)
		if err != nil {
			return
		}
		if left := rs.Minus(rs...); len(left) != 0 || !contains(rs, rs) {
			t.Errorf("%q parses to %s, which does not hold itself: %s", text, formatResources(rs, ""), formatResources(left, ""))
		}
	})
}

func FuzzParseAttributes(f *testing.F) {
	f.Add("rack:a;os:centos;level:3;set:{x};span:[1-2]")
	f.Fuzz(func(t *testing.T, text string) {
		attributes, err := parseAttributes(text)
		if err == nil {
			attributesJSON(attributes)
		}
	})
}

// Whatever is sent, the answer is a refusal or a call that can be dispatched.
func FuzzReadCall(f *testing.F) {
	for _, seed := range []string{
		`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}`,
		`{"type":"ACCEPT","framework_id":{"value":"x"},"accept":{"offer_ids":[{"value":"o"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{}]}}]}}`,
		`{"type":"KILL","framework_id":{"value":"x"},"kill":{"task_id":null}}`, `{"type":99}`, `null`, `{"subscribe":[]}`, "\x0a\x00",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	m := &Mesos{master: &master{}}
	f.Fuzz(func(t *testing.T, body string, asJSON bool) {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/scheduler", strings.NewReader(body))
		r.Header.Set("Content-Type", string(codecs.MediaTypeProtobuf))
		if asJSON {
			r.Header.Set("Content-Type", string(codecs.MediaTypeJSON))
		}
		call, err := readCall(httptest.NewRecorder(), r)
		if err == nil {
			err = validateCall(call, "")
		}
		if err == nil && call.Subscribe != nil && call.Subscribe.FrameworkInfo != nil {
			m.validateFramework(call.Subscribe.FrameworkInfo)
		}
	})
}
