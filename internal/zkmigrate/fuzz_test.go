package zkmigrate

import (
	"path"
	"testing"
)

// FuzzNode: whatever a node holds, it becomes a driver that names itself after
// the node, or an error.
func FuzzNode(f *testing.F) {
	for _, version := range []string{"3.5.1", "2.4.8"} {
		for name, data := range sample(f, version) {
			if len(data) < 10_000 {
				f.Add(data, path.Base(name))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, id string) {
		n := Node{ID: id, Data: data}
		if d, err := decodeQueued(n); err == nil && (d.ID != id || d.State != "QUEUED") {
			t.Errorf("queued: %+v", d)
		}
		if d, err := decodeLaunched(n); err == nil && (d.ID != id || d.TaskID == "") {
			t.Errorf("launched: %+v", d)
		}
		if d, err := decodeRetrying(n); err == nil && (d.ID != id || d.Retries < 1 || d.Last == nil) {
			t.Errorf("retrying: %+v", d)
		}
		_, _ = frameworkID(data)
	})
}
