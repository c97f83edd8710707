//go:build !race

package testcluster_test

const raceDetector = false
