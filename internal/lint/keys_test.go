package lint

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

var mesosKey = regexp.MustCompile(`\bspark\.mesos\.[A-Za-z]+(\.[A-Za-z]+)*([.*<{$]?)`)

// TestNamedPropertiesExist: a property that a message, a page or a document
// names is one that is read. A wrong name sends people the wrong way.
func TestNamedPropertiesExist(t *testing.T) {
	root := moduleRoot(t)
	found := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "testdata") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !slices.Contains([]string{".go", ".html", ".md", ".yaml"}, filepath.Ext(name)) || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range mesosKey.FindAllSubmatch(content, -1) {
			if key := string(m[0]); len(m[2]) == 0 { // not the beginning of one
				found++
				if _, known := sparkconf.FindKey(key); !known {
					t.Errorf("%s: there is no property %s", path, key)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 100 {
		t.Errorf("only %d properties were found", found)
	}
}
