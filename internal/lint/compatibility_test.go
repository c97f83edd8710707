package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const compatibilityDoc = "docs/compatibility.md"

// verdicts are the words that the column "here" may begin with.
var verdicts = regexp.MustCompile(`^(same|better|differs|left out|ours)\b`)

// testName is how the document names a test: the package's path from the root
// of the module, the function, and a subtest if need be.
var testName = regexp.MustCompile("^`([a-z0-9/-]+)\\.((?:Test|Fuzz|Example)[A-Za-z0-9_]*)(?:/([^`]+))?`$")

// TestCompatibilityTableNamesTests: what the document promises is shown by a
// test that exists. Each row of each table names at least one in the column
// "test", or says – there and is a rule that is left out.
func TestCompatibilityTableNamesTests(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(moduleRoot(t), compatibilityDoc))
	if err != nil {
		t.Fatal(err)
	}
	known := testsOfModule(t)
	rows := 0
	for _, table := range markdownTables(string(raw)) {
		here, test := slices.Index(table.header, "here"), slices.Index(table.header, "test")
		if test < 0 {
			t.Errorf("%s: the table with the columns %s has no column \"test\"", compatibilityDoc, strings.Join(table.header, ", "))
			continue
		}
		for _, r := range table.rows {
			rows++
			if problem := known.problemOf(table.header, r.cells, here, test); problem != "" {
				t.Errorf("%s:%d: %s", compatibilityDoc, r.line, problem)
			}
		}
	}
	if rows == 0 {
		t.Errorf("%s has no table with a column \"test\"", compatibilityDoc)
	}
}

func (p packageTests) problemOf(header, cells []string, here, test int) string {
	if len(cells) != len(header) {
		return "the row has " + strconv.Itoa(len(cells)) + " cells, the header " + strconv.Itoa(len(header))
	}
	if slices.Contains(cells, "") {
		return "a cell is empty"
	}
	if here >= 0 && !verdicts.MatchString(cells[here]) {
		return "the column \"here\" must begin with same, better, differs, left out or ours: " + cells[here]
	}
	if cells[test] == "–" {
		if here < 0 || !strings.HasPrefix(cells[here], "left out") {
			return "no test is named, and the rule is not left out: " + cells[0]
		}
		return ""
	}
	for _, name := range strings.Split(cells[test], ", ") {
		m := testName.FindStringSubmatch(name)
		switch {
		case m == nil:
			return "not a test in the form `package/path.TestName/subtest`: " + name
		case !p[m[1]].functions[m[2]]:
			return "there is no such test: " + name
		case m[3] != "" && !p[m[1]].hasSubtest(m[3]):
			return "no string of the package's tests reads like the subtest of " + name
		}
	}
	return ""
}

// packageTests are the tests of each package, by its path from the root.
type packageTests map[string]testFunctions

type testFunctions struct {
	functions map[string]bool
	strings   map[string]bool // of the test files, as subtests are named
}

// hasSubtest finds names loosely: a subtest's name is often the key of a table,
// so any string of the package's tests will do.
func (f testFunctions) hasSubtest(path string) bool {
	for _, name := range strings.Split(path, "/") {
		if !f.strings[name] && !f.strings[path] {
			return false
		}
	}
	return true
}

func testsOfModule(t *testing.T) packageTests {
	all := packageTests{}
	eachGoFile(t, func(path string, content []byte) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, content, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if _, seen := all[dir]; !seen {
			all[dir] = testFunctions{functions: map[string]bool{}, strings: map[string]bool{}}
		}
		all[dir].add(file)
	})
	return all
}

func (f testFunctions) add(file *ast.File) {
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil {
				f.functions[n.Name.Name] = true
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				f.strings[strings.ReplaceAll(text, " ", "_")] = true
			}
		}
		return true
	})
}

type markdownTable struct {
	header []string
	rows   []markdownRow
}

type markdownRow struct {
	line  int
	cells []string
}

var ruleBelowHeader = regexp.MustCompile(`^\|[\s|:-]+\|$`)

func markdownTables(text string) []markdownTable {
	var tables []markdownTable
	inside := false
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		switch line = strings.TrimSpace(line); {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case !inside:
			inside = true
			tables = append(tables, markdownTable{header: markdownCells(line)})
		case !ruleBelowHeader.MatchString(line):
			last := &tables[len(tables)-1]
			last.rows = append(last.rows, markdownRow{i + 1, markdownCells(line)})
		}
	}
	return tables
}

// markdownCells splits a row at the bars that no backslash stands before.
func markdownCells(line string) []string {
	const bar = "\x00"
	line = strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), `\|`, bar)
	cells := strings.Split(line, "|")
	for i, c := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(c, bar, "|"))
	}
	return cells
}

func TestTheCompatibilityCheckFindsWhatIsWrong(t *testing.T) {
	known := packageTests{"a/b": {functions: map[string]bool{"TestX": true}, strings: map[string]bool{"one_way": true}}}
	for row, wrong := range map[string]bool{
		"| r | same | `a/b.TestX` |":                             false,
		"| r | better: how | `a/b.TestX/one_way`, `a/b.TestX` |": false,
		`| a \| b | same | ` + "`a/b.TestX` |":                   false,
		"| r | left out: there is no JVM | – |":                  false,
		"| r | same | – |":                                       true,
		"| r | same |":                                           true,
		"| r | | `a/b.TestX` |":                                  true,
		"| r | perhaps | `a/b.TestX` |":                          true,
		"| r | same | `a/b.TestY` |":                             true,
		"| r | same | `a/c.TestX` |":                             true,
		"| r | same | `a/b.TestX/another` |":                     true,
		"| r | same | a/b.TestX |":                               true,
	} {
		tables := markdownTables("| rule | here | test |\n|---|---|---|\n" + row + "\n\n")
		problem := known.problemOf(tables[0].header, tables[0].rows[0].cells, 1, 2)
		if wrong != (problem != "") {
			t.Errorf("%s: problem %q", row, problem)
		}
	}
}
