package dispatcher

import (
	"fmt"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
)

// Need is what one driver asks of an agent, with a name that is equal for needs
// that the same agents can meet.
type Need struct {
	launch.Requirements
	Shape string
}

// NewNeed names the requirements.
func NewNeed(r launch.Requirements) *Need {
	var b strings.Builder
	fmt.Fprintf(&b, "%g/%g/%g/%v/", r.CPUs, r.MemMiB, r.GPUs, r.Ports)
	b.WriteString(r.Constraints.String())
	return &Need{Requirements: r, Shape: b.String()}
}

func needOf(d *launch.Description) (*Need, error) {
	r, err := d.Requirements()
	if err != nil {
		return nil, err
	}
	return NewNeed(r), nil
}
