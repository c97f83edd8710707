package localmesos

import (
	"strconv"
	"time"
)

// durationUnits are stout's, the smallest first.
var durationUnits = []struct {
	name string
	size time.Duration
}{
	{"ns", time.Nanosecond}, {"us", time.Microsecond}, {"ms", time.Millisecond}, {"secs", time.Second},
	{"mins", time.Minute}, {"hrs", time.Hour}, {"days", 24 * time.Hour}, {"weeks", 7 * 24 * time.Hour},
}

// formatDuration renders a duration the way Mesos does (stout's duration.hpp):
// in the largest unit that it reaches, or the next smaller one where that makes
// no whole number.
func formatDuration(d time.Duration) string {
	if d < 0 {
		return "-" + formatDuration(-d)
	}
	unit := 0
	for i, u := range durationUnits {
		if d >= u.size {
			unit = i
		}
	}
	if unit > 0 && d%durationUnits[unit].size != 0 {
		unit--
	}
	u := durationUnits[unit]
	return strconv.FormatFloat(float64(d)/float64(u.size), 'g', 15, 64) + u.name
}
