package mesosutil

import (
	"fmt"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// DefaultRefuse is Spark's default of `spark.mesos.rejectOfferDuration`.
const DefaultRefuse = 120 * time.Second

// RefuseDurations say for how long Mesos keeps declined resources away from a
// scheduler, by the reason of the refusal.
type RefuseDurations struct {
	Offer            time.Duration // `spark.mesos.rejectOfferDuration`
	UnmetConstraints time.Duration // `spark.mesos.rejectOfferDurationForUnmetConstraints`
	ReachedMaxCores  time.Duration // `spark.mesos.rejectOfferDurationForReachedMaxCores`
}

// NewRefuseDurations fills in the fallbacks: no offer means DefaultRefuse, the
// two others fall back to offer.
func NewRefuseDurations(offer, unmetConstraints, reachedMaxCores *time.Duration) RefuseDurations {
	d := RefuseDurations{Offer: DefaultRefuse}
	if offer != nil {
		d.Offer = *offer
	}
	d.UnmetConstraints, d.ReachedMaxCores = d.Offer, d.Offer
	if unmetConstraints != nil {
		d.UnmetConstraints = *unmetConstraints
	}
	if reachedMaxCores != nil {
		d.ReachedMaxCores = *reachedMaxCores
	}
	return d
}

// RefuseFilters returns the filter that goes with a DECLINE or ACCEPT. nil
// means Mesos's own default of five seconds.
func RefuseFilters(d *time.Duration) *mesos.Filters {
	if d == nil {
		return nil
	}
	return mesos.OptionalFilters(mesos.RefuseSeconds(max(*d, 0)))
}

// DeclineText describes a declined offer for a debug log, in Spark's words:
//
//	Declining offer: <id> with attributes: <a> mem: <m> cpu: <c> port: <p> for 120 s (reason: <r>)
//
// refuse and reason are left out when nil or empty.
func DeclineText(offer *mesos.Offer, reason string, refuse *time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Declining offer: %s with attributes: %s mem: %g cpu: %g port: %s",
		offer.ID.Value, AttributesText(offer.Attributes),
		ScalarSum(offer.Resources, "mem"), ScalarSum(offer.Resources, "cpus"),
		rangesText(RangeValues(offer.Resources, PortsResource)))
	if refuse != nil {
		fmt.Fprintf(&b, " for %g s", refuse.Seconds())
	}
	if reason != "" {
		fmt.Fprintf(&b, " (reason: %s)", reason)
	}
	return b.String()
}

// FrameworkIDKey is the property by which a dispatcher tells a driver which
// framework id to register with.
const FrameworkIDKey = "spark.mesos.driver.frameworkId"

// WithoutFrameworkID returns conf without FrameworkIDKey. A process calls it
// after its first registration, so that a second application in the same
// process does not take over the first one's id. conf is not changed.
func WithoutFrameworkID(conf map[string]string) map[string]string {
	out := make(map[string]string, len(conf))
	for k, v := range conf {
		if k != FrameworkIDKey {
			out[k] = v
		}
	}
	return out
}
