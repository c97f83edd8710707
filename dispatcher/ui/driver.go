package ui

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

const (
	// attemptRows is how many attempts a page shows unless asked for all; up to
	// a thousand are kept.
	attemptRows = 50
	// queueLook is how far from the head of the queue a place is told.
	queueLook = 10_000
)

// driverBody is the page of one driver. The tables are lists of fields so that
// one template prints them all.
type driverBody struct {
	ID, Name   string
	State      fsm.DriverState
	SparkState string // where it is another word
	Meaning    string
	Reason     string
	Wait       string // what a queued driver waits for
	NextRetry  stamp
	Next       uint32 // number of the next attempt, from 1

	Attempts    []attempt
	AllAttempts string // where only some are shown
	Total       uint32 // attempts ever made
	Forgotten   uint32
	History     bool
	Sandboxes   bool

	Launched    []pair
	LastStatus  []pair
	Retry       []pair
	RetryStatus []pair
	Properties  []pair
	Command     []pair
	Environment []pair
	Scheduler   []pair
	Undecoded   string // why the command is not shown
}

type attempt struct {
	Number                     uint32 // from 1
	TaskID, AgentID, AgentHost string
	FrameworkID                string
	Launched, Started, Ended   stamp
	Took                       string
	Outcome                    string // short, for the badge
	Status                     stateText
	Dropped                    bool
	History, Sandbox           string
}

func (v *visit) driver() (any, error) {
	id := v.r.PathValue("id")
	if id == "" {
		id = v.r.URL.Query().Get("id")
	}
	if id == "" {
		return nil, &problem{Status: http.StatusBadRequest, Text: "Missing id parameter",
			Hint: "The address of a driver's page is driver?id=SUBMISSION-ID.", Link: "./", LinkTo: "Back to Drivers"}
	}
	d, found := v.view.Driver(id)
	if !found {
		return nil, &problem{Status: http.StatusNotFound, Text: "Cannot find driver " + clip(id),
			Hint: "It was never accepted here, this node has not applied it yet, or it ended so long ago that it is no longer kept " +
				"(spark.mesos.retainedDrivers).",
			Link: "./", LinkTo: "Back to Drivers"}
	}
	v.title = "Details for Job " + d.ID
	body := &driverBody{
		ID: d.ID, Name: d.Name, State: d.State, Meaning: meaning[d.State], Reason: d.Reason, Total: d.NextAttempt,
		NextRetry: v.at(d.NotBeforeMs), Next: d.NextAttempt + 1,
		Forgotten: d.AttemptsForgotten, History: v.cfg.HistoryServerURL != "", Sandboxes: v.cfg.ProxyBaseURL != "",
	}
	if s := sparkState(d.State); s != string(d.State) {
		body.SparkState = s
	}
	desc, err := v.d.Description(d)
	if err != nil {
		// The record itself is whole: show it, and say what is missing.
		body.Undecoded, desc = err.Error(), &launch.Description{}
	}
	v.waiting(body, d, desc)
	v.attempts(body, d)
	v.launched(body, d)
	v.retry(body, d)
	v.properties(body, d, desc)
	v.command(body, d, desc)
	return body, nil
}

func (v *visit) waiting(body *driverBody, d *fsm.Driver, desc *launch.Description) {
	if d.State != fsm.DriverQueued {
		return
	}
	place, found := 0, false
	v.view.Waiting(func(w *fsm.Driver) bool {
		place++
		found = w.ID == d.ID
		return !found && place < queueLook
	})
	total := v.view.Counts().Waiting
	if found {
		body.Wait = fmt.Sprintf("Place %s of %s in launch order.", grouped(place), grouped(total))
	} else {
		body.Wait = fmt.Sprintf("Behind the first %s of %s in launch order.", grouped(place), grouped(total))
	}
	body.Wait += " It needs " + resources(d) + " of one agent"
	if desc.GPUs > 0 {
		body.Wait += ", " + strconv.FormatInt(desc.GPUs, 10) + " gpus"
	}
	if desc.Constraints != "" {
		body.Wait += ", with " + desc.Constraints
	}
	body.Wait += "."
}

func (v *visit) attempts(body *driverBody, d *fsm.Driver) {
	kept := d.Attempts
	if len(kept) > attemptRows && v.r.URL.Query().Get("attempts") != "all" {
		kept = kept[len(kept)-attemptRows:]
		body.AllAttempts = v.with("attempts", "all")
	}
	current := v.view.Framework().ID
	now := v.cfg.Clock().UnixMilli()
	for _, a := range slices.Backward(kept) {
		row := attempt{
			Number: a.Number + 1, TaskID: a.TaskID, AgentID: a.AgentID, AgentHost: a.AgentHost, FrameworkID: a.FrameworkID,
			Launched: v.at(a.LaunchedMs), Started: v.at(a.StartedMs), Ended: v.at(a.EndedMs),
			Outcome: outcome(a), Status: v.stateText(a.Last), Dropped: a.Dropped,
			History: v.history(a), Sandbox: v.sandbox(a, current),
		}
		switch {
		case a.EndedMs != 0 && a.StartedMs != 0:
			row.Took = span(a.StartedMs, a.EndedMs)
		case a.EndedMs == 0 && a.StartedMs != 0 && a == d.Current() && d.State.Active():
			row.Took = span(a.StartedMs, now) + " so far"
		}
		body.Attempts = append(body.Attempts, row)
	}
}

// outcome is the task state of an attempt without its prefix.
func outcome(a *fsm.Attempt) string {
	switch {
	case a.Dropped:
		return "DROPPED"
	case a.Last == nil:
		return "LAUNCHING"
	}
	return strings.TrimPrefix(taskState(a.Last), "TASK_")
}

func (v *visit) launched(body *driverBody, d *fsm.Driver) {
	a := d.Current()
	if a == nil {
		return
	}
	agent := a.AgentID
	if a.AgentHost != "" {
		agent += " (" + a.AgentHost + ")"
	}
	body.Launched = []pair{
		{Name: "Mesos Agent ID", Value: agent},
		{Name: "Mesos Task ID", Value: a.TaskID},
		{Name: "Launch Time", At: v.at(a.LaunchedMs)},
		{Name: "Finish Time", At: v.at(a.EndedMs)},
	}
	body.LastStatus = v.statusFields(a.Last)
}

func (v *visit) retry(body *driverBody, d *fsm.Driver) {
	if d.State != fsm.DriverRetrying && d.Retries == 0 {
		return
	}
	body.RetryStatus = v.statusFields(lastFailed(d))
	body.Retry = []pair{
		{Name: "Next retry time", At: v.at(d.NotBeforeMs)},
		{Name: "Retry count", Value: strconv.Itoa(int(d.Retries))},
		{Name: "Pause", Value: strconv.Itoa(int(d.WaitSeconds)) + " s"},
	}
}

func (v *visit) properties(body *driverBody, d *fsm.Driver, desc *launch.Description) {
	memory := decimalInt(d.MemMiB)
	if desc.MemoryMiB > 0 && desc.OverheadMiB > 0 {
		memory += fmt.Sprintf(" (heap %d + overhead %d MiB)", desc.MemoryMiB, desc.OverheadMiB)
	}
	body.Properties = []pair{
		{Name: "Name", Value: d.Name},
		{Name: "Id", Value: d.ID},
		{Name: "Cores", Value: decimal(d.Cores)},
		{Name: "Memory", Value: memory},
		{Name: "Queue", Value: queueName(d)},
		{Name: "Priority", Value: decimal(d.Priority)},
		{Name: "Submitted", At: v.at(d.SubmittedMs)},
		{Name: "Last change", At: v.at(d.ChangedMs)},
		{Name: "Finished", At: v.at(d.FinishedMs)},
		{Name: "Supervise", Value: strconv.FormatBool(d.Supervise)},
	}
	add := func(name, value string) {
		if value != "" {
			body.Properties = append(body.Properties, pair{Name: name, Value: value})
		}
	}
	if d.Supervise {
		add("Retry limit", v.retryLimit(d))
	}
	add("Submitted by", d.User)
	add("Constraints", desc.Constraints)
	if desc.GPUs > 0 {
		add("GPUs", strconv.FormatInt(desc.GPUs, 10))
	}
	if len(desc.Ports) > 0 {
		add("Ports", strings.Trim(fmt.Sprint(desc.Ports), "[]"))
	}
	add("Client Spark version", desc.ClientSparkVersion)
}

func (v *visit) retryLimit(d *fsm.Driver) string {
	limit := d.MaxRetries
	if limit == 0 {
		limit = v.view.Policy().MaxRetries
	}
	if limit <= 0 {
		return "none"
	}
	return strconv.Itoa(int(limit))
}

func (v *visit) command(body *driverBody, d *fsm.Driver, desc *launch.Description) {
	if body.Undecoded != "" {
		return
	}
	secret := v.d.Redaction()
	words := func(in []string) string { return strings.Join(sparkconf.RedactWords(secret, in), " ") }
	body.Command = []pair{{Name: "Main class", Value: d.MainClass}}
	if desc.Command != "" {
		body.Command = append(body.Command, pair{Name: "Shell command", Value: sparkconf.RedactValue(secret, launch.KeyCommand, desc.Command)})
	}
	if desc.AppResource != "" {
		body.Command = append(body.Command, pair{Name: "Application resource", Value: words([]string{desc.AppResource})})
	}
	body.Command = append(body.Command,
		pair{Name: "Arguments", Value: words(desc.Args)},
		pair{Name: "Class path entries", Value: words(desc.ClassPath())},
		pair{Name: "Java options", Value: words(desc.JavaOptions())},
		pair{Name: "Library path entries", Value: words(desc.LibraryPath())},
	)
	body.Environment = redactPairs(secret, desc.Environment)
	body.Scheduler = redactPairs(secret, desc.Properties)
}
