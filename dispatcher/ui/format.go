package ui

import (
	"strconv"
	"strings"
	"time"
)

// stamp is a time as upstream's pages print it, and as machines read it.
type stamp struct{ Text, ISO string }

// dateFormat is upstream's, yyyy/MM/dd HH:mm:ss.
const dateFormat = "2006/01/02 15:04:05"

// at is the stamp of a time in milliseconds since 1970; empty for 0.
func (p *Pages) at(ms int64) stamp {
	if ms == 0 {
		return stamp{}
	}
	t := time.UnixMilli(ms).In(p.cfg.Location)
	return stamp{Text: t.Format(dateFormat), ISO: t.Format("2006-01-02T15:04:05.000Z07:00")}
}

// decimal is a number as Java prints a double of moderate size.
func decimal(f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// grouped is a whole number with its thousands apart.
func grouped[N int | uint64](n N) string {
	text := strconv.FormatUint(uint64(max(n, 0)), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// span is the time between two stamps in at most two units.
func span(fromMs, toMs int64) string {
	d := time.Duration(max(toMs-fromMs, 0)) * time.Millisecond
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	if d < 10*time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := strconv.Itoa(int(d/u.size)) + " " + u.name
		if i+1 < len(units) {
			if rest := d % u.size / units[i+1].size; rest > 0 {
				text += " " + strconv.Itoa(int(rest)) + " " + units[i+1].name
			}
		}
		return text
	}
	return ""
}

func decimalInt(n int64) string { return strconv.FormatInt(n, 10) }
