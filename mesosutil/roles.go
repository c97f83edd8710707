package mesosutil

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/roles"
)

// ResourceRole returns the role a resource belongs to: the role of the
// innermost reservation when it has a reservation stack, else its role field,
// else "*".
func ResourceRole(r *mesos.Resource) string {
	if n := len(r.Reservations); n > 0 {
		if role := r.Reservations[n-1].GetRole(); role != "" {
			return role
		}
	}
	if r.Role != nil && *r.Role != "" {
		return *r.Role
	}
	return mesos.DefaultRole
}

func isReserved(r *mesos.Resource) bool { return ResourceRole(r) != mesos.DefaultRole }

// ResolveRole turns the text of `spark.mesos.role` into the role a framework
// subscribes with: "" and "*" give the default role "*"; any other text must
// be a Mesos role, possibly hierarchical.
//
//	role := "*" | part ("/" part)*
//
// A part is not empty, not ".", ".." or "*", does not start with "-" and has
// no blanks. The error is a *ParseError.
func ResolveRole(text string) (string, error) {
	if text == "" {
		return mesos.DefaultRole, nil
	}
	if err := checkLength("role", text); err != nil {
		return "", err
	}
	role, err := roles.Parse(text)
	if err != nil {
		return "", &ParseError{Kind: "role", Item: text, Reason: err.Error()}
	}
	return role, nil
}
