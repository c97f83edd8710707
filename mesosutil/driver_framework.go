package mesosutil

import (
	"fmt"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// DriverFramework describes a framework to Mesos; Info makes the message.
type DriverFramework struct {
	User string // OS user of the tasks; "" for the agent's own
	Name string // required
	// Roles to receive offers for; none means the default role "*".
	Roles    []string
	Hostname string // of the scheduler, for people; "" leaves it out
	WebUIURL string
	// ID of the framework as committed; "" registers a new one.
	ID        string
	Principal string // set by the driver from its credentials when ""
	// Checkpoint lets tasks outlive a restart of their agent's process.
	Checkpoint bool
	// FailoverTimeout is how long Mesos keeps the tasks while no scheduler is
	// subscribed. Zero ends every task at the first disconnection.
	FailoverTimeout time.Duration
	// GPUs asks for offers of agents that have any (GPU_RESOURCES).
	GPUs bool
	// ReservationRefinement makes Mesos send and expect resources in the
	// format of Mesos 1.4 (Resource.reservations in place of role and
	// reservation). Set it only with code that reads that format.
	ReservationRefinement bool
}

// Info builds the FrameworkInfo. The capabilities are PARTITION_AWARE (lost
// tasks are reported as unreachable, dropped or gone, and may come back),
// TASK_KILLING_STATE, MULTI_ROLE (Roles is sent as such), and, as asked,
// GPU_RESOURCES and RESERVATION_REFINEMENT. Errors wrap ErrDriverConfig.
func (f DriverFramework) Info() (*mesos.FrameworkInfo, error) {
	if strings.TrimSpace(f.Name) == "" {
		return nil, fmt.Errorf("%w: the framework needs a name", ErrDriverConfig)
	}
	if f.FailoverTimeout < 0 {
		return nil, fmt.Errorf("%w: failover timeout %v is negative", ErrDriverConfig, f.FailoverTimeout)
	}
	roles := slices.Clone(f.Roles)
	if len(roles) == 0 {
		roles = []string{"*"} // a MULTI_ROLE framework without roles gets no offers
	}
	for _, role := range roles {
		if err := checkRole(role); err != nil {
			return nil, err
		}
	}
	timeout := f.FailoverTimeout.Seconds()
	checkpoint := f.Checkpoint
	info := &mesos.FrameworkInfo{
		User: f.User, Name: f.Name, Roles: roles,
		FailoverTimeout: &timeout, Checkpoint: &checkpoint,
		Hostname: stringOrNil(f.Hostname), WebUiURL: stringOrNil(f.WebUIURL), Principal: stringOrNil(f.Principal),
		Capabilities: f.capabilities(),
	}
	if f.ID != "" {
		info.ID = &mesos.FrameworkID{Value: f.ID}
	}
	return info, nil
}

func (f DriverFramework) capabilities() []mesos.FrameworkInfo_Capability {
	types := []mesos.FrameworkInfo_Capability_Type{
		mesos.FrameworkInfo_Capability_PARTITION_AWARE,
		mesos.FrameworkInfo_Capability_TASK_KILLING_STATE,
		mesos.FrameworkInfo_Capability_MULTI_ROLE,
	}
	if f.GPUs {
		types = append(types, mesos.FrameworkInfo_Capability_GPU_RESOURCES)
	}
	if f.ReservationRefinement {
		types = append(types, mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT)
	}
	capabilities := make([]mesos.FrameworkInfo_Capability, len(types))
	for i, t := range types {
		capabilities[i].Type = t
	}
	return capabilities
}

// checkRole holds the rules of Mesos (common/roles.cpp), so that a bad role is
// refused here with its reason rather than by the master later.
func checkRole(role string) error {
	if role == "*" {
		return nil
	}
	for part := range strings.SplitSeq(role, "/") {
		switch {
		case part == "", part == ".", part == "..", part == "*", strings.HasPrefix(part, "-"):
			return fmt.Errorf("%w: role %q has the invalid part %q", ErrDriverConfig, role, part)
		case strings.ContainsAny(part, " \t\n\v\f\r\b\x7f"):
			return fmt.Errorf("%w: role %q holds a blank", ErrDriverConfig, role)
		}
	}
	return nil
}

func stringOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
