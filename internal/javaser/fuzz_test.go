package javaser

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzDecode: whatever the bytes, Decode returns a value or a *SyntaxError, and
// the readers of collections return, too, even on graphs with cycles.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.bin")
	if err != nil || len(files) == 0 {
		f.Fatal("no samples", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 10_000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Decode(data, Limits{Values: 100_000})
		if err != nil {
			if !errors.As(err, new(*SyntaxError)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		o, isObject := v.(*Object)
		if !isObject {
			return
		}
		for _, p := range o.Parts {
			for _, field := range p.Fields {
				_, _ = StringSlice(field)
				_, _ = StringMap(field)
				_, _, _ = Option(field)
				_, _ = Time(field)
				_, _ = ProtobufBytes(field, "TaskID")
			}
		}
	})
}
