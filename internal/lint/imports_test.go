package lint

import (
	"slices"
	"strings"
	"testing"
)

const (
	raft    = "github.com/hashicorp/raft"
	bolt    = "github.com/hashicorp/raft-boltdb"
	mesos   = "github.com/mesos/mesos-go"
	looplab = "github.com/looplab/fsm"

	zookeeper = "github.com/go-zookeeper/zk"
)

// layers is the layout of the architecture: for each tree what of ours it may
// depend on, directly or not; its own tree always. A package under internal/
// that is not named may use all but cmd.
var layers = map[string][]string{
	"fsm":                   {},
	"raftstore":             {},
	"mesosutil":             {},
	"shuffle":               {"internal/sparkconf"},
	"dispatcher":            {"fsm", "raftstore", "mesosutil", "internal/sparkconf"},
	"backend":               {"fsm", "raftstore", "mesosutil", "internal/sparkconf"},
	"examples":              {"fsm", "raftstore", "mesosutil", "backend", "internal/sparkconf"},
	"internal/sparkconf":    {},
	"internal/node":         {"fsm", "raftstore", "mesosutil", "dispatcher", "backend", "shuffle", "internal/sparkconf", "internal/zkmaster", "internal/zkconn"},
	"internal/zkconn":       {},
	"internal/zkmaster":     {"mesosutil", "internal/zkconn"},
	"internal/javaser":      {},
	"internal/zkfixture":    {"internal/fixture"},
	"internal/localmesos":   {},
	"internal/fixture":      {},
	"internal/lint":         {},
	"internal/realmesos":    {"internal/fixture"},
	"internal/sparkfixture": {"internal/fixture"},
	"internal/upstream":     {"internal/fixture", "internal/realmesos", "internal/sparkfixture"},
	"internal/testcluster": {"fsm", "raftstore", "mesosutil", "dispatcher", "backend", "shuffle",
		"internal/sparkconf", "internal/node", "internal/localmesos", "internal/zkmaster", "internal/zkconn"},
}

// mesosTypes are the packages of mesos-go that hold messages and nothing that
// talks: what a user of mesosutil has to name.
var mesosTypes = []string{
	mesos + "/api/v1/lib",
	mesos + "/api/v1/lib/scheduler",
}

// doors names, for a large dependency, the trees whose programs may import it;
// tests may import anything.
var doors = []struct {
	dependency string
	trees      []string
	why        string
}{
	{raft, []string{"raftstore", "internal/testcluster"}, "raftstore is the only door to the log"},
	{bolt, []string{"raftstore", "internal/testcluster"}, "raftstore is the only door to the log"},
	{looplab, []string{"fsm"}, "lifecycles are defined in fsm"},
	{zookeeper, []string{"internal/zkconn"}, "zkconn bounds the waits of the library and ends its goroutines"},
	{"testing", []string{"internal/testcluster"}, "it registers flags in every program that imports it"},
}

func ours(t *testing.T) []*Package {
	t.Helper()
	packages, err := List(t.Context(), "./...")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(packages, func(p *Package) bool {
		return p.Short() == "internal/deps" // holds modules whose user is not written yet
	})
}

func TestImportsPointDown(t *testing.T) {
	packages := ours(t)
	for _, p := range packages {
		for _, dependency := range p.Deps {
			short, isOurs := strings.CutPrefix(dependency, Module+"/")
			if !isOurs {
				continue
			}
			if Within(short, "cmd") {
				t.Errorf("%s depends on %s: nothing may import a command", p.Short(), short)
			}
			if tree, allowed, known := layerOf(p.Short()); known && !Within(short, append(allowed, tree)...) {
				t.Errorf("%s depends on %s: %s may use only %q of ours", p.Short(), short, tree, allowed)
			}
		}
	}
}

func layerOf(short string) (tree string, allowed []string, known bool) {
	for tree, allowed := range layers {
		if Within(short, tree) {
			return tree, slices.Clone(allowed), true
		}
	}
	return "", nil, false
}

func TestTopLevelIsFixed(t *testing.T) {
	for _, p := range ours(t) {
		if _, _, known := layerOf(p.Short()); !known && !Within(p.Short(), "cmd/ha-dispatcher", "internal") {
			t.Errorf("%s: new packages go beneath the existing ones or under internal/", p.Short())
		}
	}
}

func TestLargeDependenciesHaveOneDoor(t *testing.T) {
	for _, p := range ours(t) {
		for _, imported := range p.Imports {
			for _, door := range doors {
				if within(imported, door.dependency) && !Within(p.Short(), door.trees...) {
					t.Errorf("%s imports %s: %s", p.Short(), imported, door.why)
				}
			}
		}
	}
}

// within counts major versions (raft-boltdb/v2) and sub-packages, but testing/fstest
// and its like are libraries without flags.
func within(imported, dependency string) bool {
	if dependency == "testing" {
		return imported == dependency
	}
	return Within(imported, dependency)
}

func TestMesosGoIsWrapped(t *testing.T) {
	full := []string{"mesosutil", "internal/localmesos", "internal/realmesos"}
	none := []string{"fsm", "raftstore", "shuffle"}
	for _, p := range ours(t) {
		for _, imported := range p.Imports {
			switch {
			case !Within(imported, mesos), Within(p.Short(), full...):
			case Within(p.Short(), none...):
				t.Errorf("%s imports %s, and is no part that knows Mesos", p.Short(), imported)
			case !slices.Contains(mesosTypes, imported):
				t.Errorf("%s imports %s: outside of mesosutil only its types, %q", p.Short(), imported, mesosTypes)
			}
		}
	}
}

func TestEveryPackageIsUsedOrACommand(t *testing.T) {
	imported := make(map[string]bool)
	packages := ours(t)
	for _, p := range packages {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if path != p.ImportPath {
				imported[path] = true
			}
		}
	}
	for _, p := range packages {
		internal := Within(p.Short(), "internal") && !Within(p.Short(), "internal/lint")
		hasTests := len(p.TestImports)+len(p.XTestImports) > 0
		if internal && p.Name != "main" && !imported[p.ImportPath] && !hasTests {
			t.Errorf("%s is neither imported nor tested by anything", p.Short())
		}
	}
}
