package main

import (
	"os"
	"testing"
)

func TestTheDocumentIsUpToDate(t *testing.T) {
	got, err := os.ReadFile("../../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != document() {
		t.Error("docs/configuration.md is not what the table says: run go generate ./internal/sparkconf/...")
	}
}
