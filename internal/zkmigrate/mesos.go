package zkmigrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxMasterState bounds the answer of a master about its frameworks.
const maxMasterState = 64 << 20

// AskMesos makes the Connected of Options: it asks the masters in turn, each
// host:port or a URL, for the framework. A master that does not lead redirects.
func AskMesos(client *http.Client, masters ...string) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, frameworkID string) (bool, error) {
		errs := []error{errors.New("no Mesos master answered")}
		for _, m := range masters {
			connected, err := askMaster(ctx, client, m, frameworkID)
			if err == nil {
				return connected, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", m, err))
		}
		return false, errors.Join(errs...)
	}
}

func askMaster(ctx context.Context, client *http.Client, master, frameworkID string) (bool, error) {
	if !strings.Contains(master, "://") {
		master = "http://" + master
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, master+"/master/frameworks", nil)
	if err != nil {
		return false, err
	}
	reply, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return false, fmt.Errorf("GET /master/frameworks: %s", reply.Status)
	}
	var state struct {
		Frameworks []struct {
			ID        string `json:"id"`
			Connected *bool  `json:"connected"`
			Active    bool   `json:"active"`
		} `json:"frameworks"`
	}
	if err := json.NewDecoder(io.LimitReader(reply.Body, maxMasterState)).Decode(&state); err != nil {
		return false, fmt.Errorf("GET /master/frameworks: %w", err)
	}
	for _, f := range state.Frameworks {
		if f.ID != frameworkID {
			continue
		}
		if f.Connected != nil {
			return *f.Connected, nil
		}
		return f.Active, nil // masters before 1.0
	}
	return false, nil
}
