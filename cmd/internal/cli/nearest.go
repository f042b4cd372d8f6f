package cli

import (
	"slices"
	"strings"
)

// nearest returns those of names that someone who typed word may have meant, the most likely first.
func nearest(word string, names []string) []string {
	var near []string
	for _, name := range names {
		if word != "" && strings.HasPrefix(name, word) || distance(word, name) <= tolerance(name) {
			near = append(near, name)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int { return distance(word, a) - distance(word, b) })
	return near[:min(3, len(near))]
}

// tolerance is how far from a name a word may be to be meant for it.
func tolerance(name string) int {
	switch {
	case len(name) < 4:
		return 1
	case len(name) < 9:
		return 2
	}
	return 3
}

// distance is how many letters are to be inserted, left out or changed to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// didYouMean is a hint with the names near word, or otherwise when there are none.
func didYouMean(word string, names []string, otherwise string) string {
	if near := nearest(word, names); len(near) > 0 {
		return "Did you mean " + strings.Join(near, " or ") + "?"
	}
	return otherwise
}
