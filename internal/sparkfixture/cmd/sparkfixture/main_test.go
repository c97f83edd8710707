package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

func TestPathsExist(t *testing.T) {
	sparkfixture.Require(t)
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), nil, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	var paths struct{ Home, Submit, AppJar string }
	if err := json.Unmarshal(stdout.Bytes(), &paths); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{paths.Home, paths.Submit, paths.AppJar} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestUnavailableHasAStatusOfItsOwn(t *testing.T) {
	t.Setenv("JAVA_HOME", "/no/such/jdk")
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), nil, &stdout, &stderr); status != 3 || stdout.Len() > 0 || stderr.Len() == 0 {
		t.Errorf("status %d, stdout %q, stderr %q", status, &stdout, &stderr)
	}
	if status := run(t.Context(), []string{"1.0"}, &stdout, &stderr); status != 1 {
		t.Errorf("status %d for an unknown version", status)
	}
}
