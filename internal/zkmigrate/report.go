package zkmigrate

import (
	"fmt"
	"io"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// Report is what became of a migration.
type Report struct {
	DryRun      bool   `json:"dryRun"`
	FrameworkID string `json:"frameworkId"`
	Drivers     int    `json:"drivers"` // found in ZooKeeper
	// Complete is true where the cluster has taken over; Already, where it had
	// before this run, which then changed nothing.
	Complete bool `json:"complete"`
	Already  bool `json:"already"`
	// Imported and Known are the drivers that the cluster has now; with DryRun,
	// would have. Known ones were there before.
	Imported   []Line        `json:"imported"`
	Known      []Line        `json:"known"`
	Quarantine []Quarantined `json:"quarantine"`
	// Gone are drivers that a cluster which took over before does not know (any
	// more): they ended and were forgotten, or were left behind then.
	Gone []Line `json:"gone,omitempty"`
	// Refused are drivers that were taken for good in the trial only.
	Refused  []Line   `json:"refused,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// Line is one driver.
type Line struct {
	ID        string   `json:"id"`
	State     string   `json:"state"`
	Name      string   `json:"name"`
	TaskID    string   `json:"taskId,omitempty"`
	AgentID   string   `json:"agentId,omitempty"`
	Retries   int32    `json:"retries,omitempty"`
	Submitted string   `json:"submitted"`
	Reason    string   `json:"reason,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

func (r *Report) begin(p *Plan) {
	r.FrameworkID = p.FrameworkID
	r.Drivers = len(p.Drivers) + len(p.Quarantine)
	r.Quarantine = append([]Quarantined{}, p.Quarantine...)
	r.Imported, r.Known = []Line{}, []Line{}
	r.Warnings = append(r.Warnings, p.Notes...)
}

// add notes the outcome of one driver. Those of the trial are replaced by those
// of the import, except that what the trial refused is in quarantine.
func (r *Report) add(d *api.ImportDriver, o api.ImportOutcome, trial bool) {
	line := Line{
		ID: d.ID, State: d.State, Name: d.Submission.SparkProperties["spark.app.name"], TaskID: d.TaskID, AgentID: d.AgentID,
		Retries: d.Retries, Submitted: instant(d.SubmittedMs), Reason: o.Reason, Warnings: o.Warnings,
	}
	if d.State == "QUEUED" || d.State == "RETRYING" {
		line.TaskID, line.AgentID = "", ""
	}
	switch {
	case o.Outcome == api.ImportRefused && r.Already:
		r.Gone = append(r.Gone, line)
	case o.Outcome == api.ImportRefused && trial:
		r.Quarantine = append(r.Quarantine, Quarantined{ID: d.ID, Reason: o.Reason, Driver: d})
	case trial && !r.DryRun && !r.Already:
	case o.Outcome == api.ImportRefused:
		r.Refused = append(r.Refused, line)
	case o.Outcome == api.ImportKnown:
		r.Known = append(r.Known, line)
	default:
		r.Imported = append(r.Imported, line)
	}
}

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "framework %s, %d drivers in ZooKeeper\n", r.FrameworkID, r.Drivers)
	verb := "taken over"
	if r.DryRun {
		verb = "would be taken over"
	}
	list := func(title string, lines []Line) {
		if len(lines) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n%s: %d\n", title, len(lines))
		for _, l := range lines {
			fmt.Fprintf(&b, "  %-9s %s  %s", l.State, l.ID, l.Name)
			if l.TaskID != "" {
				fmt.Fprintf(&b, "  task %s on agent %s", l.TaskID, l.AgentID)
			}
			if l.Retries > 0 {
				fmt.Fprintf(&b, "  %d failures", l.Retries)
			}
			fmt.Fprintln(&b)
			for _, text := range append(l.Warnings, l.Reason) {
				if text != "" {
					fmt.Fprintf(&b, "            %s\n", text)
				}
			}
		}
	}
	list(verb, r.Imported)
	list("already there", r.Known)
	list("not known to the cluster: ended since and forgotten, or left behind", r.Gone)
	list("refused", r.Refused)
	if len(r.Quarantine) > 0 {
		fmt.Fprintf(&b, "\ncannot be taken over: %d\n", len(r.Quarantine))
		for _, q := range r.Quarantine {
			fmt.Fprintf(&b, "  %s  %s\n", q.ID, q.Reason)
		}
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(&b, "\nwarning: %s\n", text)
	}
	switch {
	case r.Already:
		fmt.Fprint(&b, "\nThe cluster had taken over before. Nothing was changed.\n")
	case r.Complete:
		fmt.Fprint(&b, "\nThe cluster has taken over. Drivers that had finished are not in ZooKeeper and are not known to it.\n")
	case r.DryRun:
		fmt.Fprint(&b, "\nNothing was changed.\n")
	default:
		fmt.Fprint(&b, "\nThe cluster has not taken over.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
