package mesosutil

import (
	"errors"
	"slices"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

func TestFrameworkInfo(t *testing.T) {
	bare, err := DriverFramework{Name: "n"}.Info()
	if err != nil {
		t.Fatal(err)
	}
	if bare.ID != nil || bare.Role != nil || bare.Hostname != nil || bare.WebUiURL != nil || bare.Principal != nil {
		t.Errorf("fields that were not given: %v", bare)
	}
	if !slices.Equal(bare.Roles, []string{"*"}) || bare.GetFailoverTimeout() != 0 || bare.GetCheckpoint() {
		t.Errorf("defaults: %v", bare)
	}
	full, err := DriverFramework{
		User: "u", Name: "n", Roles: []string{"a", "b/c"}, Hostname: "h", WebUIURL: "http://w", ID: "id", Principal: "p",
		Checkpoint: true, FailoverTimeout: 2147483647 * time.Second, GPUs: true, ReservationRefinement: true,
	}.Info()
	if err != nil {
		t.Fatal(err)
	}
	if full.GetFailoverTimeout() != 2147483647 || full.ID.Value != "id" || !full.GetCheckpoint() || full.GetPrincipal() != "p" ||
		full.GetHostname() != "h" || full.GetWebUiURL() != "http://w" || full.User != "u" {
		t.Errorf("given: %v", full)
	}
	base := []mesos.FrameworkInfo_Capability_Type{
		mesos.FrameworkInfo_Capability_PARTITION_AWARE, mesos.FrameworkInfo_Capability_TASK_KILLING_STATE, mesos.FrameworkInfo_Capability_MULTI_ROLE}
	all := append(slices.Clone(base), mesos.FrameworkInfo_Capability_GPU_RESOURCES, mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT)
	if got := capabilityTypes(bare); !slices.Equal(got, base) {
		t.Errorf("capabilities %v, want %v", got, base)
	}
	if got := capabilityTypes(full); !slices.Equal(got, all) {
		t.Errorf("capabilities %v, want %v", got, all)
	}
}

func capabilityTypes(info *mesos.FrameworkInfo) (types []mesos.FrameworkInfo_Capability_Type) {
	for _, c := range info.Capabilities {
		types = append(types, c.Type)
	}
	return types
}

func TestFrameworkInfoRefuses(t *testing.T) {
	for name, f := range map[string]DriverFramework{
		"no name":          {Name: " "},
		"negative timeout": {Name: "n", FailoverTimeout: -1},
		"empty role":       {Name: "n", Roles: []string{""}},
		"role .":           {Name: "n", Roles: []string{"."}},
		"role ..":          {Name: "n", Roles: []string{"a/.."}},
		"role -x":          {Name: "n", Roles: []string{"-x"}},
		"role with blank":  {Name: "n", Roles: []string{"a b"}},
		"role a//b":        {Name: "n", Roles: []string{"a//b"}},
		"role a/*":         {Name: "n", Roles: []string{"a/*"}},
	} {
		if _, err := f.Info(); !errors.Is(err, ErrDriverConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
