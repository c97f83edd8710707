package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// clientLog makes spark-submit tell what its REST client does, without times.
const clientLog = `rootLogger.level = info
rootLogger.appenderRef.stdout.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{1}: %m%n%ex
`

// sparkClient is one version of the real spark-submit.
type sparkClient struct {
	spark *sparkfixture.Spark
	conf  string
}

func newSparkClient(t *testing.T, spark *sparkfixture.Spark) *sparkClient {
	t.Helper()
	conf := t.TempDir()
	if err := os.WriteFile(filepath.Join(conf, "log4j2.properties"), []byte(clientLog), 0o600); err != nil {
		t.Fatal(err)
	}
	return &sparkClient{spark, conf}
}

// run runs spark-submit, which must end with status 0, and returns all that it
// printed.
func (s *sparkClient) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := s.spark.Command(ctx, args...)
	cmd.Env = append(cmd.Env, "SPARK_CONF_DIR="+s.conf)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("spark-submit %q ended with status %d:\n%s", args, code, out)
	}
	return string(out)
}

var created = regexp.MustCompile(`Submission successfully created as (driver-\d{14}-\d+)\. Polling submission state`)

// submit submits SparkPi with the journal, and returns the id and the output.
func (s *sparkClient) submit(t *testing.T, master string, app []string, args ...string) (id, output string) {
	t.Helper()
	all := append([]string{
		"--master", master, "--deploy-mode", "cluster", "--conf", "spark.master.rest.enabled=true",
		"--driver-memory", "512m", "--class", sparkfixture.MainClass,
	}, args...)
	output = s.run(t, append(append(all, s.spark.AppJar()), app...)...)
	found := created.FindStringSubmatch(output)
	if found == nil {
		t.Fatalf("spark-submit to %s created nothing:\n%s", master, output)
	}
	return found[1], output
}

// expect holds output against lines with regular expressions, in that order.
func expect(t *testing.T, output string, lines ...string) {
	t.Helper()
	rest := output
	for _, line := range lines {
		at := regexp.MustCompile(`(?m)` + line).FindStringIndex(rest)
		if at == nil {
			t.Errorf("%q is not in its place in\n%s", line, output)
			return
		}
		rest = rest[at[1]:]
	}
}

// sparkConf lets drivers find this Spark on the agents, which are this machine.
func sparkConf(spark *sparkfixture.Spark) []string {
	return []string{"spark.mesos.executor.home=" + spark.Home(), "spark.home=" + spark.Home()}
}

// waitState waits until a driver is in one of the states.
func (c *cluster) waitState(t *testing.T, u *user, id string, states ...string) (d *api.Driver) {
	t.Helper()
	eventually(t, fmt.Sprint(id, " to be ", states), func() string {
		var err error
		if d, err = u.driver(t.Context(), c.rest(0), id); err != nil {
			return err.Error()
		}
		for _, s := range states {
			if d.State == s {
				return ""
			}
		}
		return d.State + " " + d.Reason
	})
	return d
}

// stdout is what the last attempt of a driver printed, out of its sandbox.
func (c *cluster) stdout(t *testing.T, u *user, d *api.Driver) string {
	t.Helper()
	var cl api.Cluster
	if err := u.get(t.Context(), c.rest(0)+"/v1/cluster", &cl); err != nil {
		t.Fatal(err)
	}
	last := d.Attempts[len(d.Attempts)-1]
	box := mesosutil.Sandbox{Master: c.Info().Mesos.URL, Client: u.http}
	var out bytes.Buffer
	file := mesosutil.TaskFile{FrameworkID: cl.Framework.ID, AgentID: last.AgentID, TaskID: last.TaskID, Name: "stdout"}
	if _, err := box.Copy(t.Context(), &out, file, 0); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The spark-submit of Spark 3.5.1 submits a supervised SparkPi to a follower,
// whose first attempt fails; it runs again, and ends in its sandbox with pi. A
// second driver, submitted with a spark:// URL, is looked at and killed. The
// texts are those that Spark's own dispatcher makes it print.
func TestSparkSubmit3(t *testing.T) {
	spark := sparkfixture.Require(t)
	onEachMesos(t, func(t *testing.T, opts devcluster.Options) {
		opts.Conf = sparkConf(spark)
		c := start(t, opts)
		client, u := newSparkClient(t, spark), newUser(t)
		follower := (c.ready(t) + 1) % 3
		mesos, journal := "mesos://"+address(c.rest(follower)), filepath.Join(c.dir, "pi")

		pi, output := client.submit(t, mesos, []string{"4", "0", journal, journal + "-marker"}, "--supervise", "--name", "Pi, twice")
		expect(t, output,
			`^INFO RestSubmissionClient: Submitting a request to launch an application in `+mesos+`\.$`,
			`^INFO RestSubmissionClient: Submission successfully created as `+pi+`\. Polling submission state\.\.\.$`,
			`^INFO RestSubmissionClient: Submitting a request for the status of submission `+pi+` in `+mesos+`\.$`,
			`^INFO RestSubmissionClient: State of driver `+pi+` is now (QUEUED|RUNNING)\.$`,
			`^INFO RestSubmissionClient: Server responded with CreateSubmissionResponse:\n\{\n  "action" : "CreateSubmissionResponse",\n  "serverSparkVersion" : "3\.5\.1",\n  "submissionId" : "`+pi+`",\n  "success" : true\n\}$`)

		sparkURL := "spark://" + address(c.rest(c.ready(t)))
		long, output := client.submit(t, sparkURL, []string{"2", "300", journal + "-long"})
		expect(t, output, `in `+sparkURL+`\.$`, `"submissionId" : "`+long+`"`)
		c.waitState(t, u, long, "RUNNING")
		// Where all is well this client says nothing; what it does not understand
		// it tells as an error.
		for _, verb := range []string{"--status", "--kill"} {
			if output := client.run(t, "--master", mesos, verb, long); strings.Contains(output, "ERROR") || strings.Contains(output, "Error") {
				t.Errorf("%s:\n%s", verb, output)
			}
		}
		c.waitState(t, u, long, "KILLED")

		d := c.waitState(t, u, pi, "FINISHED", "FAILED", "ERROR", "LOST", "KILLED")
		notes, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		if d.State != "FINISHED" || len(d.Attempts) != 2 || d.Name != "Pi, twice" ||
			!regexp.MustCompile(`^start (\d+) \d+\nfail \d+ \d+\nstart \d+ \d+\nend \d+ \d+\n$`).Match(notes) {
			t.Errorf("%+v\njournal:\n%s", d, notes)
		}
		if out := c.stdout(t, u, d); !strings.Contains(out, "Pi is roughly 3.14") {
			t.Errorf("stdout:\n%s", out)
		}
	})
}

// The client of Spark 4 knows only spark:// URLs, but several masters, which it
// tries in turn: here the first node is dead.
func TestSparkSubmit4FailsOverByItself(t *testing.T) {
	spark := sparkfixture.Require4(t)
	c := start(t, devcluster.Options{Conf: sparkConf(spark)})
	client, u := newSparkClient(t, spark), newUser(t)
	dead := c.ready(t) // the leader at that
	if err := c.Kill(dead); err != nil {
		t.Fatal(err)
	}
	hosts := []string{address(c.rest(dead)), address(c.rest((dead + 1) % 3)), address(c.rest((dead + 2) % 3))}
	master := "spark://" + strings.Join(hosts, ",")
	id, output := client.submit(t, master, []string{"2", "300"})
	expect(t, output,
		`^WARN RestSubmissionClient: Unable to connect to server spark://`+regexp.QuoteMeta(hosts[0])+`\.$`,
		`Submission successfully created as `+id, `State of driver `+id+` is now (QUEUED|RUNNING)`)
	c.restart(t, dead)
	c.ready(t)
	c.waitState(t, u, id, "RUNNING")
	one := "spark://" + hosts[1]
	if output := client.run(t, "--master", one, "--status", id); strings.Contains(output, "rror") {
		t.Errorf("--status:\n%s", output) // where all is well it says nothing
	}
	expect(t, client.run(t, "--master", one, "--kill", id), "^"+id+` is killed successfully\.$`)
	c.waitState(t, u, id, "KILLED")
}
