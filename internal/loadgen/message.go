package loadgen

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"
)

// template holds the requests of one server, so that a client only writes bytes.
type template struct {
	base       *url.URL
	createHead string // up to the length of the body, which is the same for all
	createBody []byte
	getHead    string // the rest of a GET, behind its path
	query      string
}

func newTemplate(server string, cfg *Config) (*template, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	body, err := submission(u.Host, cfg)
	if err != nil {
		return nil, err
	}
	common := "Host: " + u.Host + "\r\nUser-Agent: ha-dispatcher-bench\r\nAccept: application/json\r\n"
	if cfg.Token != "" {
		common += "Authorization: Bearer " + cfg.Token + "\r\n"
	}
	if cfg.CloseConnections {
		common += "Connection: close\r\n"
	}
	t := &template{
		base: u, createBody: body,
		createHead: "POST /v1/submissions/create HTTP/1.1\r\n" + common +
			"Content-Type: application/json;charset=utf-8\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n",
		getHead: " HTTP/1.1\r\n" + common + "\r\n",
	}
	if cfg.Stale {
		t.query = "?consistency=stale"
	}
	return t, nil
}

// submission is what spark-submit sends, with as many properties as wanted.
func submission(host string, cfg *Config) ([]byte, error) {
	props := map[string]string{
		"spark.app.name":          "load",
		"spark.driver.supervise":  "false",
		"spark.jars":              "file:///srv/jobs/app.jar",
		"spark.master":            "mesos://" + host,
		"spark.submit.deployMode": "cluster",
	}
	for i := len(props); i < cfg.Properties; i++ {
		props[fmt.Sprintf("spark.load.key%03d", i)] = fmt.Sprintf("value-%03d", i)
	}
	maps.Copy(props, cfg.Extra)
	return json.Marshal(map[string]any{
		"action":               "CreateSubmissionRequest",
		"appArgs":              []string{"10"},
		"appResource":          "file:///srv/jobs/app.jar",
		"clientSparkVersion":   "3.5.1",
		"environmentVariables": map[string]string{"SPARK_ENV": "1"},
		"mainClass":            "org.example.App",
		"sparkProperties":      props,
	})
}

// appendCreate appends a submission to b; key may be empty.
func (t *template) appendCreate(b []byte, key string) []byte {
	b = append(b, t.createHead...)
	if key != "" {
		b = append(b, "Idempotency-Key: "...)
		b = append(b, key...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, t.createBody...)
}

func (t *template) appendStatus(b []byte, id string) []byte {
	b = append(b, "GET /v1/submissions/status/"...)
	b = append(b, url.PathEscape(id)...)
	b = append(b, t.query...)
	return append(b, t.getHead...)
}

// reply is the part of Spark's answers that counts here.
type reply struct {
	Success      bool   `json:"success"`
	SubmissionID string `json:"submissionId"`
	DriverState  string `json:"driverState"`
	Message      string `json:"message"`
	Outcome      string `json:"outcome"`
}
