package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheDocumentIsUpToDate(t *testing.T) {
	got, err := os.ReadFile("../../../docs/lifecycles.md")
	if err != nil || string(got) != document() {
		t.Errorf("docs/lifecycles.md is not what the tables give (%v): run 'go generate ./fsm/...'", err)
	}
}
