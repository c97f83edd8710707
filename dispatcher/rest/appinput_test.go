package rest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

func TestBadRegistrationsAreRefused(t *testing.T) {
	h := newHost()
	s := newServer(t, hostConfig(h), h.node)
	for name, c := range map[string]struct{ body, want string }{
		"empty":             {"", "empty"},
		"no JSON":           {"x", "invalid character"},
		"cut":               {`{"name":`, "ends early"},
		"no object":         {"[]", "JSON object"},
		"two values":        {application("") + "{}", "more than one value"},
		"trailing bracket":  {application("") + "]", "more than one value"},
		"unknown field":     {application(`,"colour":"x"`), `unknown field "colour"`},
		"wrong type":        {application(`,"id":7`), "'id' holds a JSON number"},
		"null":              {"null", "'name' is missing"},
		"no name":           {strings.Replace(application(""), `"a"`, `""`, 1), "'name' is missing"},
		"long name":         {strings.Replace(application(""), `"a"`, `"`+strings.Repeat("n", 1025)+`"`, 1), "'name' is longer"},
		"control character": {strings.Replace(application(""), `"a"`, `"a\n"`, 1), "'name' holds a control"},
		"id with a slash":   {application(`,"id":"a/b"`), "'id'"},
		"id of two dots":    {application(`,"id":".."`), "'id'"},
		"long id":           {application(`,"id":"` + strings.Repeat("i", 201) + `"`), "'id'"},
		"no driver":         {`{"name":"a","properties":{}}`, "'driverUrl'"},
		"driver by http":    {strings.Replace(application(""), "spark://", "http://", 1), "'driverUrl'"},
		"driver, no port":   {strings.Replace(application(""), "h:1", "h", 1), "'driverUrl'"},
		"driver, no name":   {strings.Replace(application(""), "CoarseGrainedScheduler@", "", 1), "'driverUrl'"},
		"driver, password":  {strings.Replace(application(""), "Scheduler@", "Scheduler:hunter2@", 1), "'driverUrl'"},
		"web page by file":  {application(`,"webUiUrl":"file:///etc/passwd"`), "'webUiUrl'"},
		"version":           {application(`,"sparkVersion":"latest"`), "'sparkVersion'"},
		"negative timeout":  {application(`,"failoverTimeoutMs":-1`), "'failoverTimeoutMs'"},
		"tiny timeout":      {application(`,"failoverTimeoutMs":999`), "'failoverTimeoutMs'"},
		"endless timeout":   {application(`,"failoverTimeoutMs":9223372036854775807`), "'failoverTimeoutMs'"},
		"timeout too large": {application(`,"failoverTimeoutMs":92233720368547758070`), "'failoverTimeoutMs' holds"},
		"another property":  {strings.Replace(application(""), `{}`, `{"java.home":"x"}`, 1), "java.home"},
		"property, no text": {strings.Replace(application(""), `{}`, `{"spark.x":1}`, 1), "holds a JSON number"},
		"zero byte":         {strings.Replace(application(""), `{}`, `{"spark.x":"a\u0000"}`, 1), "zero byte"},
		"large properties":  {strings.Replace(application(""), `{}`, `{"spark.x":"`+strings.Repeat("v", 1<<20)+`"}`, 1), "bytes together"},
		"many properties":   {strings.Replace(application(""), `{}`, manyProperties(5001), 1), "more than 5000"},
	} {
		t.Run(name, func(t *testing.T) {
			w := do(s, "POST", "/v1/apps", c.body)
			e := errorOf(t, w.Body.Bytes())
			if w.Code != 400 || e.Outcome != notExecuted || !strings.Contains(e.Message, c.want) || strings.Contains(e.Message, "hunter2") {
				t.Errorf("status %d, %+v; want %q", w.Code, e, c.want)
			}
		})
	}
	if list := get[api.AppList](t, s, "/v1/apps"); len(list.Applications) != 0 {
		t.Errorf("%+v", list)
	}
}

func manyProperties(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"spark.p%d":""`, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestBadChangesAreRefused(t *testing.T) {
	h := newHost()
	h.app(t, "a", 2)
	h.launch("a")
	s := newServer(t, hostConfig(h), h.node)
	many := func(item string, n int) string { return strings.Repeat(item+",", n-1) + item }
	for name, c := range map[string]struct {
		route, body string
		status      int
		want        string
	}{
		"negative total":      {"PUT totals", `{"totals":[{"profile":0,"total":-1}]}`, 400, "total of profile 0"},
		"total too large":     {"PUT totals", `{"totals":[{"profile":0,"total":2147483648}]}`, 400, "between 0 and"},
		"total with a part":   {"PUT totals", `{"totals":[{"profile":0,"total":1.5}]}`, 400, "'totals.total' holds a JSON number"},
		"profile twice":       {"PUT totals", `{"totals":[{"profile":3,"total":1},{"profile":3,"total":2}]}`, 400, "profile 3 comes twice"},
		"negative profile":    {"PUT totals", `{"totals":[{"profile":-1,"total":1}]}`, 400, "'totals.profile'"},
		"negative cores":      {"PUT totals", `{"totals":[{"profile":0,"total":1,"cores":-1}]}`, 400, "cores of profile 0"},
		"many profiles":       {"PUT totals", `{"totals":[` + many("{}", 1001) + `]}`, 400, "1000 resource profiles"},
		"no totals":           {"PUT totals", `{}`, 400, "'totals' is missing"},
		"misspelt":            {"PUT totals", `{"totals":[{"profil":0}]}`, 400, `unknown field "profil"`},
		"host with a blank":   {"PUT totals", `{"totals":[],"hosts":{"a b":1}}`, 400, "'hosts'"},
		"negative tasks":      {"PUT totals", `{"totals":[],"hosts":{"h":-1}}`, 400, "tasks of h"},
		"nobody to kill":      {"POST kill", `{"executors":[]}`, 400, "empty"},
		"an empty id":         {"POST kill", `{"executors":[""]}`, 400, "no id"},
		"a long id":           {"POST kill", `{"executors":["` + strings.Repeat("1", 65) + `"]}`, 400, "no id"},
		"many to kill":        {"POST kill", `{"executors":[` + many(`"1"`, 10001) + `]}`, 400, "10000"},
		"unknown executor":    {"POST kill", `{"executors":["0","7"]}`, 409, "never had an executor 7"},
		"no executor's id":    {"POST kill", `{"executors":["driver"]}`, 409, "never had"},
		"no host":             {"POST exclude", `{}`, 400, "'host'"},
		"long host":           {"POST exclude", `{"host":"` + strings.Repeat("h", 256) + `"}`, 400, "'host'"},
		"host with a slash":   {"POST exclude", `{"host":"a/b"}`, 400, "'host'"},
		"negative duration":   {"POST exclude", `{"host":"h","durationMs":-1}`, 400, "'durationMs'"},
		"duration too long":   {"POST exclude", `{"host":"h","durationMs":9223372036854775807}`, 400, "'durationMs'"},
		"long reason":         {"POST exclude", `{"host":"h","reason":"` + strings.Repeat("r", 1025) + `"}`, 400, "'reason'"},
		"admit for a time":    {"POST admit", `{"host":"h","durationMs":5}`, 400, "only 'host'"},
		"a key that is none":  {"PUT totals", `{"totals":[]}`, 400, "Idempotency-Key"},
		"a body that is huge": {"POST kill", strings.Repeat(" ", 11<<20), 413, "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			method, verb, _ := strings.Cut(c.route, " ")
			header := []string{}
			if strings.Contains(c.want, "Idempotency-Key") {
				header = []string{"Idempotency-Key", strings.Repeat("k", 256)}
			}
			w := do(s, method, "/v1/apps/a/"+verb, c.body, header...)
			e := errorOf(t, w.Body.Bytes())
			if w.Code != c.status || e.Outcome != notExecuted || !strings.Contains(e.Message, c.want) {
				t.Errorf("status %d, %+v; want %d with %q", w.Code, e, c.status, c.want)
			}
		})
	}
	if st := get[api.AppStatus](t, s, "/v1/apps/a"); st.Totals[0].Total != 2 {
		t.Errorf("%+v", st)
	}
	if e, _ := h.state.Executor("a", "0"); e.State != fsm.ExecutorLaunching {
		t.Errorf("executor 0 is %s: with an unknown one beside it, none is to be killed", e.State)
	}
}

// FuzzAppInput: whatever comes is refused with a reason, or within the limits.
func FuzzAppInput(f *testing.F) {
	for _, body := range []string{
		application(""), application(`,"id":"a","failoverTimeoutMs":1000`), `{"totals":[{"profile":0,"total":2}],"hosts":{"h":1}}`,
		`{"executors":["0"]}`, `{"host":"h","durationMs":5,"reason":"r"}`, "", "null", "[]", "{}{}", `{"totals":[{"total":1e3}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var a api.Application
		var totals api.AppTotals
		var kill api.AppKill
		var exclude api.AppExclude
		for _, c := range []struct {
			v     any
			check func() error
			bad   func() bool
		}{
			{&a, func() error { return checkApplication(&a) }, func() bool {
				return a.Name == "" || len(a.ID) > maxAppID || len(a.Properties) > maxProperties || !strings.HasPrefix(a.DriverURL, "spark://")
			}},
			{&totals, func() error { return checkTotals(&totals) }, func() bool {
				for _, p := range totals.Totals {
					if p.Total < 0 || p.Total > fsm.Unlimited {
						return true
					}
				}
				return totals.Totals == nil || len(totals.Totals) > maxProfiles || len(totals.Hosts) > maxHosts
			}},
			{&kill, func() error { return checkKill(&kill) }, func() bool { return len(kill.Executors) == 0 || len(kill.Executors) > maxKills }},
			{&exclude, func() error { return checkExclude(&exclude, true) }, func() bool { return exclude.Host == "" || exclude.DurationMs < 0 }},
		} {
			err := decodeStrictly(body, c.v)
			if err == nil {
				err = c.check()
			}
			if err != nil && err.Error() == "" || err == nil && c.bad() {
				t.Errorf("%T: %v, %+v", c.v, err, c.v)
			}
		}
	})
}
