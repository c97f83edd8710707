//go:build race

package testcluster_test

// The race detector makes everything ten times slower.
const raceDetector = true
