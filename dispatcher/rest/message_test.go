package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
)

func TestDecodesAsLenientlyAsSpark(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		want    launch.Submission
		unknown []string
	}{
		"numbers and booleans stand for their text": {
			body: `{"appArgs":[1,true,2.50,"x",1e3],"sparkProperties":{"a":2,"b":false},"clientSparkVersion":3}`,
			want: launch.Submission{Args: []string{"1", "true", "2.50", "x", "1e3"}, Properties: map[string]string{"a": "2", "b": "false"}, ClientSparkVersion: "3"},
		},
		"the last of repeated fields counts": {
			body:    `{"mainClass":"A","mainClass":"B","sparkProperties":{"k":"1"},"sparkProperties":{"k":"2","k":"3"}}`,
			want:    launch.Submission{MainClass: "B", Properties: map[string]string{"k": "3"}},
			unknown: []string{"mainClass", "sparkProperties"},
		},
		"unknown fields are skipped and reported": {
			body:    `{"x":[1,{"y":"]}\""}],"mainClass":"A","z":null,"success":true}`,
			want:    launch.Submission{MainClass: "A"},
			unknown: []string{"x", "z", "success"},
		},
		"escapes, surrogates and raw UTF-8": {
			body: `{"mainClass":"\u00e9\ud83d\ude00\n\/","appResource":"中"}`,
			want: launch.Submission{MainClass: "é😀\n/", AppResource: "中"},
		},
		"bytes that are no UTF-8 become U+FFFD": {
			body: "{\"mainClass\":\"a\xff\",\"sparkProperties\":{\"k\xfe\":\"v\xfd\"}}",
			want: launch.Submission{MainClass: "a\uFFFD", Properties: map[string]string{"k\uFFFD": "v\uFFFD"}},
		},
		"what follows the object is ignored": {
			body: ` {"mainClass":"A"} garbage {`, want: launch.Submission{MainClass: "A"},
		},
		"a null field is a missing one": {
			body: `{"mainClass":null,"appArgs":null,"sparkProperties":null,"message":null}`, unknown: []string{"message"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := decodeCreate([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, m.submission); diff != "" {
				t.Errorf("submission (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.unknown, m.unknown); diff != "" {
				t.Errorf("unknown fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusesMalformedMessagesWithTheCause(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for body, want := range map[string]string{
		``:                                   "the body is empty",
		`  `:                                 "the body is empty",
		`{`:                                  "unexpected end",
		`{"a"`:                               "':'",
		`{"a":}`:                             "a value should be",
		`{"a":tru}`:                          "a value should be",
		`{"a":01}`:                           "a value should be",
		`{"a":1,}`:                           "a field name",
		`{"a":1 "b":2}`:                      "'}' or ','",
		`{"a":"` + "\n" + `"}`:               "an escape in place of a control character",
		`{"mainClass":"\x"}`:                 "invalid escape",
		`{"mainClass":{}}`:                   "field 'mainClass' must be a string, not an object",
		`{"appArgs":[null]}`:                 "element 0 of 'appArgs' must be a string, not null",
		`{"appArgs":["a",[]]}`:               "element 1 of 'appArgs' must be a string, not an array",
		`{"sparkProperties":{"k":{}}}`:       "value of 'k' in 'sparkProperties' must be a string, not an object",
		`{"environmentVariables":{"E":null}`: "null value for 'E' in 'environmentVariables'",
		`{"x":` + deep:                       "deeper than 64 levels",
		`{"x":[1,}]}`:                        "invalid JSON in the value",
		`{"x":[1,2`:                          "unexpected end",
	} {
		_, err := decodeCreate([]byte(body))
		var bad *malformedError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v, want one with %q", body, err, want)
		}
	}
}

func TestAPlainCommandNeedsNeitherResourceNorMainClass(t *testing.T) {
	var got launch.Submission
	n := newNode()
	n.onSub = func(s launch.Submission) { got = s }
	w := do(newServer(t, testConfig(), n), "POST", "/v1/submissions/create",
		`{"action":"CreateSubmissionRequest","clientSparkVersion":"1","appArgs":[],"environmentVariables":{},`+
			`"sparkProperties":{"spark.app.name":"t","spark.mesos.dispatcher.command":"sleep 1"}}`)
	if w.Code != http.StatusOK || got.Properties[launch.KeyCommand] != "sleep 1" {
		t.Errorf("status %d, body %s, submission %+v", w.Code, w.Body, got)
	}
}

// FuzzDecodeCreate holds the scanner against encoding/json: what both take they
// understand alike, and the scanner takes no object that is not JSON.
func FuzzDecodeCreate(f *testing.F) {
	for _, r := range recordings(f) {
		if r.Body != "" {
			f.Add([]byte(r.Body))
		}
	}
	f.Add([]byte(`{"appArgs":["\ud800"],"x":{"y":[1.5e-3,null]},"mainClass":"` + "\xff" + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeCreate(body)
		var bad *malformedError
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		_ = m.validate()
		dec := json.NewDecoder(bytes.NewReader(body))
		var raw map[string]json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			t.Fatalf("taken, but encoding/json says %v", err)
		}
		for name, got := range map[string]map[string]string{
			"sparkProperties": m.submission.Properties, "environmentVariables": m.submission.Environment,
		} {
			var want map[string]any
			if err := json.Unmarshal(raw[name], &want); err != nil || want == nil {
				continue
			}
			for k, v := range want {
				if s, isText := v.(string); isText && got[k] != s {
					t.Fatalf("%s: %q is %q, encoding/json has %q", name, k, got[k], s)
				}
			}
		}
		for _, v := range append([]string{m.submission.MainClass, m.submission.AppResource}, m.submission.Args...) {
			if strings.ToValidUTF8(v, "") != v {
				t.Fatalf("%q is not UTF-8", v)
			}
		}
	})
}

func FuzzCreate(f *testing.F) {
	f.Add("POST", "/v1/submissions/create", []byte(minimal))
	f.Add("GET", "/v1/submissions/status/%zz/../x", []byte(nil))
	n := newNode()
	s, err := New(testConfig(), n, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		r, err := http.NewRequest(method, "http://h/", bytes.NewReader(body))
		if err != nil || strings.HasPrefix(path, "/v1/events") {
			return
		}
		if u, err := r.URL.Parse(path); err == nil {
			r.URL = u
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("reply is not JSON: %s", w.Body)
		}
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("internal error: %s", w.Body)
		}
	})
}

// submission of 1.3 kB, as spark-submit makes it.
func fullSubmission(b *testing.B) []byte {
	for _, r := range recordings(b) {
		if r.Name == "spark-submit-3.5.1/001-submit-full-POST" {
			return []byte(r.Body)
		}
	}
	b.Fatal("recording not found")
	return nil
}

func BenchmarkDecodeCreate(b *testing.B) {
	body := fullSubmission(b)
	b.SetBytes(int64(len(body)))
	b.Run("scanner", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m, err := decodeCreate(body)
			if err != nil || m.validate() != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) { // for comparison; it cannot see repeated or null fields
		b.ReportAllocs()
		for b.Loop() {
			var m struct {
				Action, ClientSparkVersion, AppResource, MainClass string
				AppArgs                                            []string
				SparkProperties, EnvironmentVariables              map[string]string
			}
			if err := json.NewDecoder(bytes.NewReader(body)).Decode(&m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// answering acknowledges submissions at no cost.
type answering struct{ *node }

func (answering) Submit(context.Context, launch.Submission, dispatcher.Request) (dispatcher.Receipt, error) {
	return dispatcher.Receipt{DriverID: "driver-20261122112319-0001"}, nil
}

func BenchmarkCreate(b *testing.B) {
	body := fullSubmission(b)
	s := newServer(b, testConfig(), answering{newNode()})
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/v1/submissions/create", bytes.NewReader(body))
		s.ServeHTTP(discard{http.Header{}}, r)
	}
}

func BenchmarkStatus(b *testing.B) {
	n := newNode()
	w := do(newServer(b, testConfig(), n), "POST", "/v1/submissions/create", minimal)
	var reply struct{ SubmissionID string }
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
		b.Fatal(err)
	}
	s := newServer(b, testConfig(), n)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, "/v1/submissions/status/"+reply.SubmissionID, nil)
		s.ServeHTTP(discard{http.Header{}}, r)
	}
}
