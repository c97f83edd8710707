package node_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

func TestHostingIsRefusedWithAWrongConfiguration(t *testing.T) {
	for key, value := range map[string]string{
		"spark.mesos.dispatcher.app.failoverTimeout": "100ms",
		"spark.mesos.dispatcher.app.max":             "0",
	} {
		cfg := single(t)
		cfg.Backends, cfg.Spark = true, sparkconf.New(map[string]string{key: value})
		if n, err := node.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s=%s: %v", key, value, err)
			if n != nil {
				n.Crash()
			}
		}
	}
}

// TestHostingWithoutMesos: an application is taken in, and its status says why
// nothing happens. What a client gets wrong is told by its name.
func TestHostingWithoutMesos(t *testing.T) {
	cfg := single(t)
	cfg.Backends, cfg.User = true, "spark"
	n := start(t, cfg)
	app := `{"id":"pi","name":"pi","driverUrl":"spark://CoarseGrainedScheduler@h:1","sparkHome":"/s","properties":{}}`
	eventually(t, "an application to be taken", func() bool {
		status, _ := do(t, http.MethodPost, n.RESTURL()+"/v1/apps", app)
		return status == http.StatusCreated || status == http.StatusOK
	})
	var st api.AppStatus
	eventually(t, "the reason why nothing happens", func() bool {
		_, body := get(t, n.RESTURL()+"/v1/apps/pi")
		if err := json.Unmarshal([]byte(body), &st); err != nil {
			t.Fatal(err, body)
		}
		return strings.Contains(st.Problem, "refused")
	})
	if st.State != api.AppStarting || st.User != "spark" || st.Leader != "n1" || st.LeaderURL != n.RESTURL() || st.FailoverTimeoutMs != 600_000 {
		t.Errorf("%+v", st)
	}
	for wrong, body := range map[string]string{
		"spark.cores.max": strings.Replace(app, `"properties":{}`, `"properties":{"spark.cores.max":"many"}`, 1),
		"driverUrl":       strings.Replace(app, "spark://", "http://", 1),
		"user":            strings.Replace(app, `"name"`, `"user":"root","name"`, 1),
	} {
		if status, text := do(t, http.MethodPost, n.RESTURL()+"/v1/apps", body); status != http.StatusBadRequest || !strings.Contains(text, wrong) {
			t.Errorf("%s: %d %s", wrong, status, text)
		}
	}
	for path, body := range map[string]string{
		"totals": `{"totals":[{"profile":1,"total":-1}]}`, "kill": `{"executors":[]}`, "exclude": `{"host":""}`,
	} {
		method := http.MethodPost
		if path == "totals" {
			method = http.MethodPut
		}
		if status, text := do(t, method, n.RESTURL()+"/v1/apps/pi/"+path, body); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, text := do(t, http.MethodDelete, n.RESTURL()+"/v1/apps/pi", ""); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	eventually(t, "its end", func() bool {
		_, body := get(t, n.RESTURL()+"/v1/apps/pi")
		return strings.Contains(body, `"STOPPED"`)
	})
}
