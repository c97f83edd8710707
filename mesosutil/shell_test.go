package mesosutil

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestShellEscapeWritesSparksBytes(t *testing.T) {
	for in, want := range map[string]string{
		"":             "",
		"harmless":     "harmless",
		"har-m.l3ss":   "har-m.l3ss",
		"a=b,c:d/e@%+": "a=b,c:d/e@%+",
		"näme":         "näme",
		`"already "`:   `"already "`,
		"'already '":   "'already '",
		"'$(x) `y`'":   "'$(x) `y`'",
		`"a $HOME b"`:  `"a $HOME b"`,
		`"a \" b"`:     `"a \" b"`,
		"app name":     `"app name"`,
		"--a=$2":       `"--a=\$2"`,
		`\value`:       `"\\value"`,
		"it's":         `"it's"`,
		"''":           `"''"`,
		`"?`:           `"\"?"`,
		`\"?`:          `"\\\"?"`,
		"`date`":       "\"\\`date\\`\"",
		"a<b":          `"a<b"`, "a>b": `"a>b"`, "a&b": `"a&b"`, "a|b": `"a|b"`, "a?b": `"a?b"`, "a*b": `"a*b"`,
		"a;b": `"a;b"`, "a!b": `"a!b"`, "a#b": `"a#b"`, "(a)": `"(a)"`,
		"$HOME;echo": `"\$HOME;echo"`,
		`q"uote`:     `"q\"uote"`,
	} {
		if got := ShellEscape(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestShellEscapeClosesSparksGaps(t *testing.T) {
	for in, want := range map[string]string{
		`"a";cmd;"b"`:    `"\"a\";cmd;\"b\""`,
		"'a';cmd;'b'":    `"'a';cmd;'b'"`,
		"\"`cmd`\"":      "\"\\\"\\`cmd\\`\\\"\"",
		`"$(cmd)"`:       `"\"\$(cmd)\""`,
		`"${x:-$(cmd)}"`: `"\"\${x:-\$(cmd)}\""`,
		`"a\"`:           `"\"a\\\""`,
		`"`:              `"\""`,
		"a\nb":           "\"a\nb\"",
		"'a\nb'":         "\"'a\nb'\"",
		"a\tb":           "\"a\tb\"",
		"~root":          `"~root"`,
		"[a]":            `"[a]"`,
		"{a,b}":          `"{a,b}"`,
	} {
		if got := ShellEscape(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// The shell is the judge: what ShellEscape quotes must come out of it as the
// one word that went in.
func TestShellEscapeSurvivesTheShell(t *testing.T) {
	words := []string{"plain", "a b", "a\nb", "tab\there", "~", "~root", "[a-z]*", "{a,b}", `"a";echo no;"b"`, "'a';echo no;'b'",
		"$(echo no)", "`echo no`", `\`, `\\`, `a\`, "!x", "#x", "a\\\nb", "é😀", `"a\"`, "-n", "*", "$$", "${HOME}", "x\r"}
	for _, w := range words {
		if got := shellWords(t, ShellEscape(w)); len(got) != 1 || got[0] != w {
			t.Errorf("%q became %q", w, got)
		}
	}
}

func shellWords(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", `for a in "$@"; do :; done; printf '%s\0' `+line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestLibraryPathPrefix(t *testing.T) {
	for want, paths := range map[string][]string{
		"": nil,
		`LD_LIBRARY_PATH="/el:/l1:/l2:$LD_LIBRARY_PATH"`:             {"/el", "/l1", "/l2"},
		`LD_LIBRARY_PATH="$HOME/lib:${X}/y:$LD_LIBRARY_PATH"`:        {"$HOME/lib", "${X}/y"},
		"LD_LIBRARY_PATH=\"a\\\"b:\\$(c):\\`d\\`:$LD_LIBRARY_PATH\"": {`a"b`, "$(c)", "`d`"},
	} {
		if got := LibraryPathPrefix(paths); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzShellEscape(f *testing.F) {
	for _, s := range []string{"", "a b", `"a";b;"c"`, "'x'", "\\", "$(x)", "\n", `"\"`, "\"$\"", "\"${a}\""} {
		f.Add(s)
	}
	if _, err := os.Stat("/bin/sh"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := ShellEscape(s)
		if got == s {
			if strings.ContainsAny(s, shellSpecial) && !isSafelyQuoted(s) {
				t.Fatalf("%q passed bare", s)
			}
			return
		}
		// Quoted by us: taking the quotes off again must give the input, and no
		// byte that ends the quotes may stand unescaped.
		inner := got[1 : len(got)-1]
		var back strings.Builder
		for i := 0; i < len(inner); i++ {
			if inner[i] == '\\' {
				i++
			} else if strings.IndexByte("\"`$", inner[i]) >= 0 {
				t.Fatalf("%q: unescaped %q in %s", s, inner[i], got)
			}
			back.WriteByte(inner[i])
		}
		if back.String() != s {
			t.Fatalf("%q became %s", s, got)
		}
	})
}

// Judged by the shell: variables and ~/ expand, to one word, and nothing else
// happens.
func TestShellPathExpandsVariablesAndNothingElse(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	t.Setenv("ROOT", "/my root/*")
	for in, want := range map[string]string{
		"/opt/spark": "/opt/spark", "$HOME/spark": "/home/me/spark", "${ROOT}/spark": "/my root/*/spark", "~/spark 3": "/home/me/spark 3",
		"a b": "a b", "~me": "~me", "$(echo no)": "$(echo no)", "`echo no`": "`echo no`", `"a";echo no;"b"`: `"a";echo no;"b"`,
		"${x:-$(echo no)}": "${x:-$(echo no)}", "a;b": "a;b", `a\b`: `a\b`, "$": "$", "/opt/*": "/opt/*", "a\nb": "a\nb",
	} {
		if got := shellWords(t, ShellPath(in)); len(got) != 1 || got[0] != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
