package sparkconf

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// What the value forms allow, in words for error messages and documentation.
const (
	AllowedBool   = `"true" or "false"`
	AllowedInt    = "a whole number"
	AllowedDouble = "a number"
	AllowedMemory = "a whole number with an optional unit b, k, kb, m, mb, g, gb, t, tb, p or pb (such as 512m)"
	AllowedTime   = "a whole number with an optional unit us, ms, s, m, min, h or d (such as 30s)"
)

// ValueError says that a property has a value that cannot be used.
type ValueError struct {
	Key     string
	Value   string
	Allowed string // what would be right, in words
}

// Error leaves the value out when the key or the value looks like a secret.
func (e *ValueError) Error() string {
	v := RedactValue(DefaultRedaction, e.Key, e.Value)
	return "property " + e.Key + " has the value " + strconv.Quote(v) + "; expected " + e.Allowed
}

var memoryUnits = map[string]uint{
	"": 0, "b": 0, "k": 10, "kb": 10, "m": 20, "mb": 20, "g": 30, "gb": 30, "t": 40, "tb": 40, "p": 50, "pb": 50,
}

// ParseMemory reads a memory size and returns bytes:
//
//	memory := digits [unit]
//	unit   := "b" | "k" | "kb" | "m" | "mb" | "g" | "gb" | "t" | "tb" | "p" | "pb"
//
// Units are binary (1k = 1024) and may be upper case; without one the number
// counts bytes. Blanks around the text are ignored; fractions, signs and sizes
// beyond the range of int64 are refused.
func ParseMemory(text string) (bytes int64, ok bool) {
	return ParseMemoryUnit(text, "b")
}

// ParseMemoryUnit is ParseMemory for a property whose bare numbers count in
// unit. It panics if unit is not one of the grammar's units.
func ParseMemoryUnit(text, unit string) (bytes int64, ok bool) {
	n, suffix, ok := cutNumber(text)
	if !ok {
		return 0, false
	}
	if suffix == "" {
		suffix = unit
	}
	shift, known := memoryUnits[suffix]
	if !known {
		if suffix == unit {
			panic("sparkconf: unknown memory unit " + unit)
		}
		return 0, false
	}
	if n > math.MaxInt64>>shift {
		return 0, false
	}
	return n << shift, true
}

// MiB converts bytes to whole mebibytes, rounding down.
func MiB(bytes int64) int64 { return bytes >> 20 }

var timeUnits = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "min": time.Minute,
	"h": time.Hour, "d": 24 * time.Hour,
}

// ParseTime reads a duration; a bare number counts in unit:
//
//	time := digits [ "us" | "ms" | "s" | "m" | "min" | "h" | "d" ]
//
// Units may be upper case. Blanks around the text are ignored; fractions,
// signs and durations beyond the range of time.Duration (292 years) are
// refused. (Spark also reads negative numbers, which no property allows.)
func ParseTime(text string, unit time.Duration) (d time.Duration, ok bool) {
	n, suffix, ok := cutNumber(text)
	if !ok {
		return 0, false
	}
	if suffix != "" {
		if unit, ok = timeUnits[suffix]; !ok {
			return 0, false
		}
	}
	if n > math.MaxInt64/int64(unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// cutNumber splits "12kb" into 12 and "kb"; the suffix comes in lower case.
func cutNumber(text string) (n int64, suffix string, ok bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	i := 0
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(text[:i], 10, 64)
	return n, text[i:], err == nil
}

// ParseList splits at commas, removes blanks around each item and drops blank
// items; nil when none is left.
func ParseList(text string) []string {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// ParseBool reads "true" or "false", in any case, with blanks around it.
func ParseBool(text string) (v, ok bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// ParseInt reads a whole decimal number with an optional sign.
func ParseInt(text string) (n int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil
}

// ParseDouble reads a number as Java does: decimal or hexadecimal (0x1p3), with
// an optional exponent and an optional suffix d or f. Infinities, NaN and
// numbers too large for a double, which no property allows, are refused.
func ParseDouble(text string) (v float64, ok bool) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "_") { // Go's, not Java's
		return 0, false
	}
	if text != "" && strings.IndexByte("dDfF", text[len(text)-1]) >= 0 {
		text = text[:len(text)-1]
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, false
	}
	return v, true
}
