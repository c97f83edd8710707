package mesosutil

import (
	"math"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Constraint is one requirement on an attribute of an agent.
type Constraint struct {
	// Attribute is the attribute's name, case-sensitive.
	Attribute string
	// Values are the wanted values, without duplicates; none means that it is
	// enough for the agent to have the attribute.
	Values []string
}

// Constraints are requirements that must all hold. The zero value holds on
// every agent.
type Constraints []Constraint

// ParseConstraints reads the text of `spark.mesos.constraints` or
// `spark.mesos.driver.constraints`:
//
//	constraints := "" | pair (";" pair)*
//	pair        := attribute ":" values
//	values      := "" | value ("," value)*
//
// Blanks around a whole pair are removed; blanks around ":" and "," belong to
// the name or value (as in Spark). Trailing commas vanish. A pair must hold
// exactly one colon and each attribute may come once; the *ParseError names the
// pair that breaks the rule.
//
//	"os:centos7;zone:us-east-1a,us-east-1b"   os is centos7, zone is (or has) both
//	"os:"                                     has an attribute os
func ParseConstraints(text string) (Constraints, error) {
	if text == "" {
		return nil, nil
	}
	if err := checkLength("constraint", text); err != nil {
		return nil, err
	}
	var out Constraints
	seen := make(map[string]bool)
	for chunk := range strings.SplitSeq(text, ";") {
		c, err := parseConstraint(strings.TrimSpace(chunk))
		if err != nil {
			return nil, err
		}
		if seen[c.Attribute] {
			return nil, &ParseError{Kind: "constraint", Item: strings.TrimSpace(chunk),
				Reason: "the attribute " + strconv.Quote(c.Attribute) + " is already constrained; list its values with commas"}
		}
		seen[c.Attribute] = true
		out = append(out, c)
	}
	return out, nil
}

func parseConstraint(pair string) (Constraint, error) {
	name, values, ok := strings.Cut(pair, ":")
	if !ok || strings.Contains(values, ":") {
		reason := "expected attribute:value[,value…], with exactly one colon"
		if pair == "" {
			reason = "empty between semicolons or at the end; expected attribute:value[,value…]"
		}
		return Constraint{}, &ParseError{Kind: "constraint", Item: pair, Reason: reason}
	}
	c := Constraint{Attribute: name}
	values = strings.TrimRight(values, ",")
	if values == "" {
		return c, nil
	}
	seen := make(map[string]bool)
	for v := range strings.SplitSeq(values, ",") {
		if !seen[v] {
			seen[v] = true
			c.Values = append(c.Values, v)
		}
	}
	return c, nil
}

// String writes the constraints in the grammar of ParseConstraints.
func (cs Constraints) String() string {
	var b strings.Builder
	for i, c := range cs {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(c.Attribute)
		b.WriteByte(':')
		b.WriteString(strings.Join(c.Values, ","))
	}
	return b.String()
}

// Match reports whether an agent with these attributes satisfies all
// constraints. When the agent has an attribute twice, the last one counts.
func (cs Constraints) Match(attributes []mesos.Attribute) bool {
	_, unmet := cs.Unmet(attributes)
	return !unmet
}

// Unmet returns the first constraint that an agent with these attributes does
// not satisfy, for telling a user what holds an offer back.
func (cs Constraints) Unmet(attributes []mesos.Attribute) (Constraint, bool) {
	for _, c := range cs {
		a := findAttribute(attributes, c.Attribute)
		if a == nil || !c.matches(a) {
			return c, true
		}
	}
	return Constraint{}, false
}

func findAttribute(attributes []mesos.Attribute, name string) *mesos.Attribute {
	for i := len(attributes) - 1; i >= 0; i-- {
		if attributes[i].Name == name {
			return &attributes[i]
		}
	}
	return nil
}

// matches applies the rule of the attribute's type:
//
//	SCALAR x   some value is a number ≤ x
//	RANGES     some value is a whole number inside one of the ranges
//	SET        every value is an element
//	TEXT       some value is equal
//
// A value that is no number does not match a SCALAR or RANGES attribute. (In
// Spark 3.5.1 such a value aborts the scheduler, and RANGES never match.)
func (c Constraint) matches(a *mesos.Attribute) bool {
	if len(c.Values) == 0 {
		return true
	}
	switch a.Type {
	case mesos.SCALAR:
		return a.Scalar != nil && anyValue(c.Values, func(v string) bool { return atMost(v, a.Scalar.Value) })
	case mesos.RANGES:
		return a.Ranges != nil && anyValue(c.Values, func(v string) bool { return within(v, a.Ranges.Range) })
	case mesos.SET:
		return a.Set != nil && isSubset(c.Values, a.Set.Item)
	case mesos.TEXT:
		return a.Text != nil && anyValue(c.Values, func(v string) bool { return v == a.Text.Value })
	}
	return false
}

func anyValue(values []string, ok func(string) bool) bool {
	for _, v := range values {
		if ok(v) {
			return true
		}
	}
	return false
}

func atMost(text string, limit float64) bool {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return err == nil && !math.IsInf(v, 0) && v <= limit // NaN compares false
}

func within(text string, ranges []mesos.Value_Range) bool {
	v, err := strconv.ParseUint(text, 10, 64)
	return err == nil && inRanges(ranges, v)
}

func isSubset(values, set []string) bool {
	for _, v := range values {
		found := false
		for _, s := range set {
			if s == v {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}
