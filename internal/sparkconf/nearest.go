package sparkconf

import "strings"

// most edits between a misspelt key and the one that is meant.
const mostEdits = 2

// nearestKey is the known key that a misspelt one most likely stands for, or
// empty.
func nearestKey(name string) string {
	best, fewest := "", mostEdits+1
	for _, k := range keyTable {
		if !k.Prefix() {
			if n := edits(strings.ToLower(name), strings.ToLower(k.Name), fewest); n < fewest {
				best, fewest = k.Name, n
			}
		}
	}
	return best
}

// edits is how many characters must be inserted, deleted, replaced or swapped
// with their neighbour to make b of a; limit if it is that many or more.
func edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := above[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return min(above[len(b)], limit)
}
