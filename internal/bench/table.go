package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// table is what was measured, ready to be shown.
type table struct {
	name   string // of its place in the document
	title  string
	header []string
	rows   [][]string
	notes  []string
}

func (t *table) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *table) markdown() string {
	var b strings.Builder
	if t.title != "" {
		fmt.Fprintf(&b, "**%s**\n\n", t.title)
	}
	if len(t.rows) > 0 {
		line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
		line(t.header)
		line(slices.Repeat([]string{"---"}, len(t.header)))
		for _, row := range t.rows {
			line(row)
		}
		b.WriteByte('\n')
	}
	for _, n := range t.notes {
		b.WriteString(n + "\n\n")
	}
	return b.String()
}

// writeTables replaces tables in a document, between the marks that name them.
func writeTables(path string, tables []*table) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(raw)
	for _, t := range tables {
		begin, end := "<!-- bench:"+t.name+" -->\n", "<!-- /bench:"+t.name+" -->"
		head, rest, found := strings.Cut(text, begin)
		_, tail, closed := strings.Cut(rest, end)
		if !found || !closed {
			return fmt.Errorf("%s has no place for the table %s: %s…%s is wanted", path, t.name, strings.TrimSpace(begin), end)
		}
		text = head + begin + "\n" + t.markdown() + end + tail
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func median[T float64 | time.Duration | int](values []T) T {
	var none T
	if len(values) == 0 {
		return none
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000)
}

// ratio of two rates, or a dash where there is none.
func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}
