package raftstore

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestClosingOneselfIsNoError(t *testing.T) {
	var out strings.Builder
	l := newHclog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	l.Error("failed to accept connection", "error", fmt.Errorf("accept: %w", net.ErrClosed))
	if out.Len() > 0 {
		t.Errorf("logged %s", out.String())
	}
	l.Error("failed to accept connection", "error", errors.New("too many open files"))
	if text := out.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "too many open files") {
		t.Errorf("logged %q", text)
	}
}
