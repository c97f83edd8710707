package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

// Each demo has two drivers that just run for a while, and a supervised one that
// fails at first.
var jobNames = []string{"first", "second", "supervised"}

// sparkJobs are SparkPi, submitted by the real spark-submit.
type sparkJobs struct {
	story *story
	spark *sparkfixture.Spark
}

func (j *sparkJobs) submit(ctx context.Context) ([]string, error) {
	nodes := j.story.cluster.Info().Nodes
	ids := make([]string, len(jobNames))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // each spark-submit is a JVM
	for i, job := range jobNames {
		g.Go(func() (err error) {
			ids[i], err = j.submitOne(ctx, strings.TrimPrefix(nodes[i%len(nodes)].REST, "http://"), job)
			return err
		})
	}
	return ids, g.Wait()
}

var submitted = regexp.MustCompile(`"submissionId" : "(driver-[^"]+)"`)

func (j *sparkJobs) submitOne(ctx context.Context, address, job string) (string, error) {
	args := []string{
		"--master", "mesos://" + address, "--deploy-mode", "cluster", "--name", "SparkPi " + job,
		"--conf", "spark.master.rest.enabled=true", "--driver-memory", "512m", "--class", sparkfixture.MainClass,
	}
	marker := "-"
	if job == "supervised" {
		args = append(args, "--supervise")
		marker = j.story.journalFile("marker")
	}
	args = append(args, j.spark.AppJar(), "4", "30", j.story.journalFile(job), marker)
	out, err := j.spark.Submit(ctx, args...)
	found := submitted.FindStringSubmatch(out)
	if err != nil || found == nil {
		return "", fmt.Errorf("spark-submit of the %s driver: %w\n%s", job, err, out)
	}
	j.story.say("spark-submit %s … %s → %s", strings.Join(args[:4], " "), job, found[1])
	return found[1], j.story.linkJournal(job, found[1])
}

func (j *sparkJobs) output(stdout string) string {
	return lineWith(stdout, "Pi is roughly")
}

// plainJobs are shell commands.
type plainJobs struct{ story *story }

func (j *plainJobs) submit(ctx context.Context) ([]string, error) {
	nodes := j.story.cluster.Info().Nodes
	var ids []string
	for i, job := range jobNames {
		journal := j.story.journalFile(job)
		note := func(what string) string {
			return fmt.Sprintf("echo %s $$ $(date +%%s%%3N) >> %s; ", what, journal)
		}
		command := note("start") + "sleep 8; " + note("end") + "echo work done"
		props := map[string]string{}
		if job == "supervised" {
			marker := j.story.journalFile("marker")
			command = note("start") + fmt.Sprintf("if [ ! -e %s ]; then touch %s; ", marker, marker) + note("fail") +
				"exit 1; fi; sleep 8; " + note("end") + "echo work done"
			props["spark.driver.supervise"] = "true"
		}
		id, err := submitWith(ctx, nodes[i%len(nodes)].REST, "plain "+job, command, props)
		if err != nil {
			return nil, err
		}
		j.story.say("submitted the %s driver → %s", job, id)
		if err := j.story.linkJournal(job, id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (j *plainJobs) output(stdout string) string { return lineWith(stdout, "work done") }

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func submitCommand(ctx context.Context, rest, name, command string) (string, error) {
	return submitWith(ctx, rest, name, command, nil)
}

// submitWith submits a plain command with Spark's own protocol.
func submitWith(ctx context.Context, rest, name, command string, props map[string]string) (string, error) {
	all := map[string]string{"spark.app.name": name, "spark.mesos.dispatcher.command": command, "spark.driver.memory": "256m"}
	for k, v := range props {
		all[k] = v
	}
	body, err := json.Marshal(map[string]any{
		"action": "CreateSubmissionRequest", "clientSparkVersion": "3.5.1", "appResource": "", "mainClass": "",
		"appArgs": []string{}, "environmentVariables": map[string]string{}, "sparkProperties": all,
	})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, rest+"/v1/submissions/create", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	var reply struct {
		Success      bool
		SubmissionID string
		Message      string
	}
	if err := do(req, &reply); err != nil {
		return "", err
	}
	if !reply.Success {
		return "", fmt.Errorf("refused: %s", reply.Message)
	}
	return reply.SubmissionID, nil
}

var web = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return do(req, into)
}

func do(req *http.Request, into any) error {
	resp, err := web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", req.URL, resp.Status, raw)
	}
	return json.Unmarshal(raw, into)
}
