package localmesos

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Inside this package resources have one shape: Role holds the reservation
// ("*" for none) and neither Reservations nor AllocationInfo is set. The two
// functions forFramework and fromFramework translate at the border.

const (
	unreserved   = "*"
	minCPUs      = 0.01 // smaller offers are not made (master/constants.hpp)
	minMemoryMiB = 32
)

// parseResources reads the syntax of the agent's --resources flag:
// name(role):value;…, where a value is a number, [a-b,c-d] or {x,y}.
func parseResources(text string) (mesos.Resources, error) {
	var all mesos.Resources
	for _, field := range splitFields(text) {
		name, value, ok := strings.Cut(field, ":")
		if !ok {
			return nil, fmt.Errorf("localmesos: resource %q: want name:value or name(role):value", field)
		}
		name, role := strings.TrimSpace(name), unreserved
		if open := strings.IndexByte(name, '('); open >= 0 && strings.HasSuffix(name, ")") {
			name, role = name[:open], name[open+1:len(name)-1]
			if err := validateRole(role); err != nil {
				return nil, fmt.Errorf("localmesos: resource %q: %w", field, err)
			}
		}
		r := mesos.Resource{Name: name, Role: &role}
		if err := setValue(&r, strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("localmesos: resource %q: %w", field, err)
		}
		if name == "" {
			return nil, fmt.Errorf("localmesos: resource %q has no name", field)
		}
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("localmesos: resource %q: %w", field, err)
		}
		all.Add1(r)
	}
	return all, nil
}

func splitFields(text string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == '\n' }),
		func(s string) bool { return strings.TrimSpace(s) == "" })
}

func setValue(r *mesos.Resource, value string) error {
	ranges, set, scalar, err := parseValue(value)
	switch {
	case err != nil:
		return err
	case ranges != nil:
		r.Type, r.Ranges = mesos.RANGES.Enum(), &mesos.Value_Ranges{Range: ranges}
	case set != nil:
		r.Type, r.Set = mesos.SET.Enum(), &mesos.Value_Set{Item: set}
	case scalar != nil:
		r.Type, r.Scalar = mesos.SCALAR.Enum(), &mesos.Value_Scalar{Value: *scalar}
	default:
		return fmt.Errorf("%q is not a number, [a-b] or {x,y}", value)
	}
	return nil
}

// parseValue returns at most one kind of value; none means text.
func parseValue(value string) (ranges []mesos.Value_Range, set []string, scalar *float64, err error) {
	switch {
	case strings.HasPrefix(value, "[") && strings.HasSuffix(value, "]"):
		ranges, err = parseRanges(value[1 : len(value)-1])
		return ranges, nil, nil, err
	case strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}"):
		set = []string{}
		for item := range strings.SplitSeq(value[1:len(value)-1], ",") {
			if item = strings.TrimSpace(item); item != "" {
				set = append(set, item)
			}
		}
		return nil, set, nil, nil
	}
	if f, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return nil, nil, &f, nil
	}
	return nil, nil, nil, nil
}

func parseRanges(text string) ([]mesos.Value_Range, error) {
	ranges := []mesos.Value_Range{}
	for part := range strings.SplitSeq(text, ",") {
		low, high, ok := strings.Cut(strings.TrimSpace(part), "-")
		if !ok {
			high = low
		}
		begin, err1 := strconv.ParseUint(strings.TrimSpace(low), 10, 64)
		end, err2 := strconv.ParseUint(strings.TrimSpace(high), 10, 64)
		if err1 != nil || err2 != nil || begin > end {
			return nil, fmt.Errorf("range %q: want begin-end", part)
		}
		ranges = append(ranges, mesos.Value_Range{Begin: begin, End: end})
	}
	return mesos.Ranges(ranges).Sort().Squash(), nil
}

// parseAttributes reads the syntax of the agent's --attributes flag.
func parseAttributes(text string) ([]mesos.Attribute, error) {
	var all []mesos.Attribute
	for _, field := range splitFields(text) {
		name, value, ok := strings.Cut(field, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" {
			return nil, fmt.Errorf("localmesos: attribute %q: want name:value", field)
		}
		a := mesos.Attribute{Name: name}
		ranges, set, scalar, err := parseValue(value)
		switch {
		case err != nil:
			return nil, fmt.Errorf("localmesos: attribute %q: %w", field, err)
		case ranges != nil:
			a.Type, a.Ranges = mesos.RANGES, &mesos.Value_Ranges{Range: ranges}
		case set != nil:
			a.Type, a.Set = mesos.SET, &mesos.Value_Set{Item: set}
		case scalar != nil:
			a.Type, a.Scalar = mesos.SCALAR, &mesos.Value_Scalar{Value: *scalar}
		default:
			a.Type, a.Text = mesos.TEXT, &mesos.Value_Text{Value: value}
		}
		all = append(all, a)
	}
	return all, nil
}

// forFramework is how a framework gets to see resources that it is allocated
// in role: with allocation info if it knows several roles, with reservations
// as a list if it knows their refinement.
func forFramework(rs mesos.Resources, f *framework, role string) mesos.Resources {
	out := rs.Clone()
	for i := range out {
		r := &out[i]
		if f.can(mesos.FrameworkInfo_Capability_MULTI_ROLE) {
			r.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
		}
		if reserved := r.GetRole(); f.can(mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT) {
			r.Role = nil
			if reserved != unreserved {
				r.Reservations = []mesos.Resource_ReservationInfo{{
					Type: mesos.Resource_ReservationInfo_STATIC.Enum(), Role: &reserved}}
			}
		}
	}
	return out
}

// fromFramework undoes forFramework; it fails for what no agent here can have.
// The result lists each kind of resource once.
func fromFramework(rs []mesos.Resource) (mesos.Resources, error) {
	var out mesos.Resources
	for _, r := range mesos.Resources(rs).Clone() {
		role := r.ReservationRole()
		if role == "" {
			role = unreserved
		}
		r.Role, r.Reservations, r.AllocationInfo = &role, nil, nil
		if v := r.GetScalar().GetValue(); r.GetType() == mesos.SCALAR && v != 0 && !(v >= 0.0005 && v < math.MaxInt64/1000) { // kept in thousandths
			return nil, fmt.Errorf("Resource '%s:%v' is invalid: Invalid scalar resource: value <= 0", r.Name, v)
		}
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("Resource '%s:%s' is invalid: %w", r.Name, formatValue(&r), err)
		}
		out.Add1(r)
	}
	return out, nil
}

// contains needs want to list each kind of resource once, as Add1 makes it.
func contains(have, want mesos.Resources) bool {
	return !slices.ContainsFunc(want, func(w mesos.Resource) bool {
		return !slices.ContainsFunc(have, func(h mesos.Resource) bool { return h.Contains(w) })
	})
}

func scalarOf(rs mesos.Resources, name string) (sum float64) {
	for i := range rs {
		if rs[i].Name == name {
			sum += rs[i].GetScalar().GetValue()
		}
	}
	return sum
}

// allocatable says whether resources are worth an offer.
func allocatable(rs mesos.Resources) bool {
	return scalarOf(rs, "cpus") >= minCPUs || scalarOf(rs, "mem") >= minMemoryMiB
}

// formatResources renders resources as Mesos' messages do.
func formatResources(rs mesos.Resources, allocatedTo string) string {
	var b strings.Builder
	for i := range rs {
		r := &rs[i]
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(r.Name)
		if allocatedTo != "" {
			fmt.Fprintf(&b, "(allocated: %s)", allocatedTo)
		}
		if r.GetRole() != unreserved {
			fmt.Fprintf(&b, "(reservations: [(STATIC,%s)])", r.GetRole())
		}
		b.WriteString(":" + formatValue(r))
	}
	return b.String()
}

func formatValue(r *mesos.Resource) string {
	switch r.GetType() {
	case mesos.RANGES:
		parts := make([]string, 0, len(r.GetRanges().GetRange()))
		for _, x := range r.GetRanges().GetRange() {
			parts = append(parts, fmt.Sprintf("%d-%d", x.Begin, x.End))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case mesos.SET:
		return "{" + strings.Join(r.GetSet().GetItem(), ", ") + "}"
	}
	return strconv.FormatFloat(r.GetScalar().GetValue(), 'f', -1, 64)
}
