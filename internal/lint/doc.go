// Package lint holds the rules of this repository that no ready-made linter
// knows, as tests that run in seconds:
//
//   - which package may import which (imports_test.go), so that the layers stay
//     apart and each large dependency has one door;
//   - that the replicated core is pure ([Impurities]): the same log must give
//     the same bytes on every node, so it has no clock, randomness, I/O,
//     goroutine, or iteration in map order;
//   - the length of files, where tests may be skipped, and which versions and
//     build tags must not change (repository_test.go);
//   - that each rule in docs/compatibility.md names the test that shows it
//     (compatibility_test.go).
//
// Nothing imports this package.
package lint
