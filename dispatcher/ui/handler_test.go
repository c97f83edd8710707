package ui

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Every heading, column and field of upstream's pages (Spark 3.5.1), with what
// it holds for the drivers of full.
func TestEveryFieldThatUpstreamShows(t *testing.T) {
	b := newBackend(t)
	ids := b.full()
	p := b.pages(testConfig())
	index := getOK(t, p, "/")
	section := func(heading, last string) string { return between(t, index, heading, last) }
	row := func(part, id string) string {
		return between(t, part, `driver?id=`+id+`"`, "</tr>")
	}
	columns := func(part string, names ...string) {
		t.Helper()
		for _, name := range names {
			wantAll(t, part, `<th scope="col">`+name+`</th>`)
		}
	}
	cells := func(part, id string, values ...string) {
		t.Helper()
		wantAll(t, row(part, id), values...)
	}
	wantAll(t, index, "<title>Spark Drivers for Mesos cluster</title>", "Mesos Framework ID: <code>"+testFramework)

	queued := section("Queued Drivers:", "</section>")
	columns(queued, "Driver ID", "Queue", "Submit Date", "Main Class", "Driver Resources")
	cells(queued, ids[fsm.DriverQueued], ">default<", ">2026/11/22 11:", ">org.example.App<", ">cpus: 1.0, mem: 1408<")

	for heading, want := range map[string]struct {
		states []fsm.DriverState
		status string
	}{
		"Launched Drivers:": {[]fsm.DriverState{fsm.DriverRunning, fsm.DriverKilling}, "State: TASK_RUNNING, Source: SOURCE_EXECUTOR, Time: "},
		"Finished Drivers:": {[]fsm.DriverState{fsm.DriverFailed}, "State: TASK_FAILED, Message: Command exited with status 1, " +
			"Source: SOURCE_EXECUTOR, Reason: REASON_COMMAND_EXECUTOR_FAILED, Time: "},
	} {
		part := section(heading, "</section>")
		columns(part, "Driver ID", "History", "Queue", "Submit Date", "Main Class", "Driver Resources", "Start Date",
			"Mesos Agent ID", "State", "Sandbox")
		for _, state := range want.states {
			id := ids[state]
			cells(part, id, ">default<", ">2026/11/22 11:", ">org.example.App<", ">cpus: 1.0, mem: 1408<", testAgent, want.status,
				`href="http://history.example:18080/history/`+testFramework+"-"+id+`"`,
				`href="http://mesos.example/#/agents/`+testAgent+"/frameworks/"+testFramework+"/executors/"+id+`/browse"`)
		}
	}
	retrying := section("Supervise drivers waiting for retry:", "</section>")
	columns(retrying, "Driver ID", "Submit Date", "Description", "Last Failed Status", "Next Retry Time", "Attempt Count")
	cells(retrying, ids[fsm.DriverRetrying], ">2026/11/22 11:", ">org.example.App<", "State: TASK_FAILED, Message: Command exited with status 1",
		`data-label="Next Retry Time"><time`, `data-label="Attempt Count">3<`)

	page := getOK(t, p, "/driver?id="+ids[fsm.DriverRetrying])
	wantAll(t, page, "<title>Details for Job "+ids[fsm.DriverRetrying]+"</title>", "Driver state information for driver id",
		"Back to Drivers", "Driver state: ", ">RETRYING<")
	for heading, want := range map[string]map[string]string{
		"Driver properties": {"Name": "retrying", "Id": ids[fsm.DriverRetrying], "Cores": "1.0", "Memory": "1408", "Queue": "default",
			"Submitted": "<time", "Supervise": "true"},
		"Driver command": {"Main class": "org.example.App", "Arguments": "10 &lt;b&gt;&amp;", "Class path entries": "/opt/a.jar /opt/b.jar",
			"Java options": "-Dspark.app.name=retrying", "Library path entries": "/opt/lib"},
		"Driver command environment": {"SPARK_ENV_X": "1"},
		"Scheduler properties":       {"spark.app.name": "retrying", "spark.driver.extraJavaOptions": "-Da=b"},
		"Launched state": {"Mesos Agent ID": testAgent, "Mesos Task ID": ids[fsm.DriverRetrying] + "-retry-2",
			"Launch Time": "<time", "Finish Time": "<time", "Last Task Status": "TASK_FAILED"},
		"Retry state": {"Last failed status": "TASK_FAILED", "Next retry time": "<time", "Retry count": "3"},
	} {
		part := between(t, page, ">"+heading+"</h2>", "</section>")
		for name, value := range want {
			cell := between(t, part, `<th scope="row">`+name+`</th><td>`, "</td>")
			wantAll(t, cell, value)
		}
	}
}

func TestTimesAreForPeopleAndMachines(t *testing.T) {
	b := newBackend(t)
	b.full()
	wantAll(t, getOK(t, b.pages(testConfig()), "/"), `<time datetime="2026-11-22T11:24:21.000Z">2026/11/22 11:24:21</time>`)
}

func TestExactStateAndReasonOfEveryDriver(t *testing.T) {
	b := newBackend(t)
	ids := b.full()
	p := b.pages(testConfig())
	for state, id := range ids {
		page := getOK(t, p, "/driver/"+id)
		wantAll(t, between(t, page, "Driver state: ", "</section>"), `class="badge `+string(state)+`"`, meaning[state][:20])
	}
	wantAll(t, getOK(t, p, "/driver/"+ids[fsm.DriverFailed]), "Spark's protocol calls this FINISHED", "Command exited with status 1")
	wantAll(t, getOK(t, p, "/driver/"+ids[fsm.DriverKilled]), "killed on request of bob", "The driver was not launched yet.")
	wantAll(t, getOK(t, p, "/driver/"+ids[fsm.DriverQueued]), "Place 1 of 1 in launch order. It needs cpus: 1.0, mem: 1408 of one agent")
}

func TestEveryAttemptHasItsOwnLinks(t *testing.T) {
	b := newBackend(t)
	id := b.full()[fsm.DriverRetrying]
	page := getOK(t, b.pages(testConfig()), "/driver?id="+id)
	for _, task := range []string{id, id + "-retry-1", id + "-retry-2"} {
		wantAll(t, page, "/frameworks/"+testFramework+"/executors/"+task+"/browse", "/history/"+testFramework+"-"+task+`"`)
	}
}

func TestLastFailedStatusIsThatOfTheAttemptThatFailed(t *testing.T) {
	b := newBackend(t)
	id := b.full()[fsm.DriverRetrying]
	b.report(b.launch(id), fsm.TaskRunning, "", -1)
	page := getOK(t, b.pages(testConfig()), "/driver?id="+id)
	wantAll(t, between(t, page, "Last failed status", "</tr>"), "TASK_FAILED", id+"-retry-2")
	wantAll(t, between(t, page, "Last Task Status", "</tr>"), "TASK_RUNNING", id+"-retry-3")
}

// After a reset the dispatcher has another framework id; what ran under the old
// one has its sandbox there.
func TestSandboxOfAnAttemptBeforeTheFrameworkWasReset(t *testing.T) {
	b := newBackend(t)
	id := b.submit(description("old"))
	b.launch(id)
	b.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkRemove, FrameworkId: testFramework})
	b.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkReset})
	b.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: "new-0001"})
	wantAll(t, getOK(t, b.pages(testConfig()), "/driver?id="+id), "/frameworks/"+testFramework+"/executors/"+id+"/browse")
}

func TestNoLinksWithoutTheirServers(t *testing.T) {
	b := newBackend(t)
	id := b.full()[fsm.DriverRunning]
	cfg := testConfig()
	cfg.HistoryServerURL, cfg.ProxyBaseURL = "", ""
	p := b.pages(cfg)
	wantNone(t, getOK(t, p, "/"), "/browse", "/history/", `<th scope="col">History</th>`)
	wantAll(t, getOK(t, p, "/driver?id="+id), "spark.mesos.proxy.baseURL", "spark.mesos.dispatcher.historyServer.url")
}

func TestSecretsAreHidden(t *testing.T) {
	b := newBackend(t)
	d := description("secrets")
	d.Args = []string{"--db-password", "s3cr3t-a", "--token=s3cr3t-b", "api.secret=s3cr3t-c", "jdbc://u:s3cr3t-d@host/db", "plain"}
	d.AppResource = "s3a://id:s3cr3t-e@bucket/app.jar"
	d.Environment = append(d.Environment, launch.KV{Key: "SPARK_TOKEN", Value: "s3cr3t-f"})
	d.Properties = append(d.Properties,
		launch.KV{Key: "spark.hadoop.fs.s3a.access.key", Value: "s3cr3t-g"},
		launch.KV{Key: "spark.mine", Value: "password=s3cr3t-h"},
		launch.KV{Key: "spark.driver.defaultJavaOptions", Value: "-Dmy.password=s3cr3t-i -Dmine=yours"})
	d.Command = "curl -H 'Token: s3cr3t-j' http://x"
	id := b.submit(d)
	page := getOK(t, b.pages(testConfig()), "/driver?id="+id)
	wantNone(t, page, "s3cr3t", "hunter2")
	wantAll(t, page, "*********(redacted)", "plain", "-Dmine=yours", "spark.ssl.keyPassword", "--token=*")

	b.secret = regexp.MustCompile("(?i)app[.]name")
	page = getOK(t, b.pages(testConfig()), "/driver?id="+id)
	wantAll(t, page, "hunter2", "-Dspark.app.name=*********(redacted)")
}

func TestStrangersTextIsNoMarkup(t *testing.T) {
	const attack = `"><script>alert(1)</script><img src=x onerror=alert(2)>'`
	b := newBackend(t)
	d := description(attack)
	d.MainClass, d.AppResource, d.Queue, d.Constraints = attack, attack, attack, attack
	d.Args = []string{attack, "javascript:alert(3)"}
	d.Environment = []launch.KV{{Key: attack, Value: attack}}
	d.Properties = []launch.KV{{Key: attack, Value: attack}}
	id := b.submit(d)
	b.report(b.launch(id), fsm.TaskFailed, attack, 0)
	spec, err := dispatcher.EncodeSpec(d)
	if err != nil {
		t.Fatal(err)
	}
	odd := b.submitRaw(&fsmpb.SubmitDriver{DriverId: `x"><script>alert(4)&#?`, Name: attack, User: attack, Spec: spec})
	b.members.Leader = attack
	b.members.Nodes[0].ID, b.members.Nodes[0].WebUI, b.members.Nodes[0].Problem = attack, "javascript:alert(5)", attack
	p := b.pages(testConfig())
	for _, target := range []string{"/", "/drivers", "/cluster", "/driver?id=" + id, "/driver?id=" + url.QueryEscape(odd),
		"/driver/" + url.PathEscape(odd), "/driver?id=" + url.QueryEscape(attack), "/drivers?q=" + url.QueryEscape(attack),
		"/drivers?state=" + url.QueryEscape(attack), "/?consistency=" + url.QueryEscape(attack), "/nowhere/" + url.PathEscape(attack)} {
		_, page := get(t, p, target)
		wantNone(t, page, "<script>", "<img src=x", `href="javascript:`, "ZgotmplZ")
	}
	// The odd id leads to its page from the list.
	link := regexp.MustCompile(`href="\./(driver\?id=x[^"]*)"`).FindStringSubmatch(getOK(t, p, "/drivers"))
	if link == nil {
		t.Fatal("no link to the odd id")
	}
	wantAll(t, getOK(t, p, "/"+link[1]), "x&#34;&gt;&lt;script&gt;alert(4)&amp;#?")
}

func TestHeadersMethodsAndErrors(t *testing.T) {
	b := newBackend(t)
	b.full()
	p := b.pages(testConfig())
	for target, want := range map[string]struct {
		code int
		text string
	}{
		"/":                                      {200, ""},
		"/?utm=1":                                {200, ""},
		"/driver":                                {400, "Missing id parameter"},
		"/driver/":                               {400, "Missing id parameter"},
		"/driver?id=":                            {400, "Missing id parameter"},
		"/driver?id=nobody":                      {404, "Cannot find driver nobody"},
		"/driver/nobody":                         {404, "Cannot find driver nobody"},
		"/driver/a/b":                            {404, "There is no page /driver/a/b"},
		"/nosuch":                                {404, "There is no page /nosuch"},
		"/static/":                               {404, ""},
		"/static/..%2fui.go":                     {404, ""},
		"/?consistency=x":                        {400, "consistency must be"},
		"/drivers?state=ASLEEP":                  {400, "There is no state"},
		"/drivers?before=x":                      {400, "must be a number"},
		"/drivers?after=-1":                      {400, "must be a number"},
		"/drivers?q=" + strings.Repeat("x", 201): {400, "too long"},
		"/" + strings.Repeat("x/", 5000):         {404, "There is no page"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions} {
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequest(method, target, nil))
			code, body := want.code, w.Body.String()
			switch method {
			case http.MethodGet:
				if !strings.Contains(body, want.text) {
					t.Errorf("%s: no %q in\n%s", target, want.text, body)
				}
			case http.MethodHead:
				if body != "" && want.text != "" {
					t.Errorf("HEAD %s has a body", target)
				}
			default:
				code = http.StatusMethodNotAllowed
				if w.Header().Get("Allow") != "GET, HEAD" {
					t.Errorf("%s %s: Allow is %q", method, target, w.Header().Get("Allow"))
				}
			}
			if w.Code != code {
				t.Errorf("%s %.40s: %d, not %d", method, target, w.Code, code)
			}
			for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
				if w.Header().Get(name) == "" {
					t.Errorf("%s %.40s: no header %s", method, target, name)
				}
			}
		}
	}
}

func TestConsistencyIsTold(t *testing.T) {
	b := newBackend(t)
	b.full()
	cfg := testConfig()
	cfg.NodeID = "n2"
	p := b.pages(cfg)
	page := getOK(t, p, "/")
	wantAll(t, page, "from node <b>n2</b>, which follows <b>n1</b>", "stale read", "consistency=linearizable", "term 7")
	if b.reads[dispatcher.Linearizable] != 0 {
		t.Error("a page asked the leader without need")
	}
	wantAll(t, getOK(t, p, "/?consistency=linearizable"), "linearizable read")

	b.fresh = errors.New("no leader")
	code, page := get(t, p, "/driver?id=x&consistency=linearizable")
	if code != http.StatusServiceUnavailable {
		t.Errorf("status %d", code)
	}
	wantAll(t, page, "needs the leader", `href="./driver?id=x"`)
	wantAll(t, getOK(t, p, "/"), "Queued Drivers:")
}

func TestAlertsSayWhatIsWrongAndWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*backend)
		want    []string
	}{
		"no leader": {func(b *backend) { b.members.Leader = "" }, []string{"No leader is known", "knows no leader"}},
		"a node away": {func(b *backend) { b.members.Nodes[2].Healthy, b.members.Nodes[2].Problem = false, "connection refused" },
			[]string{"1 of 3 nodes cannot be reached"}},
		"disconnected": {func(b *backend) {
			b.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkDisconnect, FrameworkId: testFramework})
			b.status = dispatcher.LeaderStatus{Leading: true, Err: errors.New("dial tcp: refused")}
		}, []string{"Not connected to Mesos", "dial tcp: refused"}},
		"removed": {func(b *backend) {
			b.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkRemove, FrameworkId: testFramework})
		}, []string{"is REMOVED", "<code>ha-dispatcher cluster reset-framework</code>"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			tc.prepare(b)
			page := getOK(t, b.pages(testConfig()), "/")
			wantAll(t, page, `class="alert`)
			wantAll(t, page, tc.want...)
		})
	}
	wantNone(t, getOK(t, newBackend(t).pages(testConfig()), "/"), `class="alert"`)
}

func TestClusterPage(t *testing.T) {
	b := newBackend(t)
	b.members.Nodes[2].Healthy, b.members.Nodes[2].Problem = false, "connection refused"
	b.members.Nodes[2].Voter = false
	page := getOK(t, b.pages(testConfig()), "/cluster")
	wantAll(t, page, "this node", ">leader<", ">follower<", ">non-voter<", ">unreachable<", "connection refused", "10.0.0.3:7079",
		"2 of 2 voting nodes", testFramework, "http://10.0.0.9:5050", "4,321", `href="http://10.0.0.2:8081"`, "SUBSCRIBED")
}

func TestEmptyClusterTellsHowToSubmit(t *testing.T) {
	p := newBackend(t).pages(testConfig())
	for _, target := range []string{"/", "/drivers"} {
		wantAll(t, getOK(t, p, target), "spark-submit --master mesos://10.0.0.1:7077 --deploy-mode cluster",
			"ha-dispatcher submit --server http://10.0.0.1:7077 --command 'echo hello")
	}
	b := newBackend(t)
	b.full()
	wantNone(t, getOK(t, b.pages(testConfig()), "/"), "spark-submit")
}

func TestDamagedSpecificationIsShownAsSuch(t *testing.T) {
	b := newBackend(t)
	id := b.submitRaw(&fsmpb.SubmitDriver{IdPrefix: testPrefix, Name: "broken", Spec: []byte("damaged")})
	wantAll(t, getOK(t, b.pages(testConfig()), "/driver?id="+id), "broken", "specification cannot be decoded", "Driver properties")
}

func TestLinksWorkUnderAnyPath(t *testing.T) {
	b := newBackend(t)
	id := b.full()[fsm.DriverRunning]
	p := b.pages(testConfig())
	for target, root := range map[string]string{"/": "./", "/driver?id=" + id: "./", "/driver/" + id: "../", "/driver/": "../", "/a/b/c": "../../"} {
		_, page := get(t, p, target)
		wantAll(t, page, `href="`+root+`cluster"`, `href="`+root+`static/style.css?v=`)
		wantNone(t, page, `href="/`, `src="/`, `action="/`)
	}
}

func TestStaticFilesAreKeptUntilTheyChange(t *testing.T) {
	server := httptest.NewServer(newBackend(t).pages(testConfig()))
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	for name := range static {
		r, err := server.Client().Get(server.URL + "/" + staticURL(name))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != http.StatusOK || len(body) == 0 || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %d bytes, %v", name, r.StatusCode, len(body), r.Header)
		}
		q, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/static/"+name, nil)
		q.Header.Set("If-None-Match", r.Header.Get("Etag"))
		r, err = server.Client().Do(q)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusNotModified {
			t.Errorf("%s: %d for the same content", name, r.StatusCode)
		}
	}
}

func TestLinksThatCannotBeFollowedAreRefused(t *testing.T) {
	for value, allowed := range map[string]bool{
		"http://history:18080": true, "https://x/y": true, "/mesos": true, "": true,
		"history:18080": false, "javascript:alert(1)": false, "ftp://x": false, "http://": false, "mesos": false, "//x": false, ":": false,
	} {
		for _, cfg := range []Config{{HistoryServerURL: value}, {ProxyBaseURL: value}} {
			if _, err := New(cfg, newBackend(t)); (err == nil) != allowed {
				t.Errorf("%q: %v", value, err)
			}
		}
	}
}
