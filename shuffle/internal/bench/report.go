package main

import (
	"fmt"
	"strings"
	"time"
)

// cell is one block size at one number of connections, for all servers.
type cell struct {
	size, conns int
	names       []string
	samples     []sample
}

func (c cell) of(name string) (sample, bool) {
	for i, n := range c.names {
		if n == name {
			return c.samples[i], true
		}
	}
	return sample{}, false
}

func (c cell) String() string {
	var b strings.Builder
	for i, s := range c.samples {
		fmt.Fprintf(&b, "%8s x %2d  %-8s %9.0f blocks/s %8.0f MB/s  p50 %8s p99 %8s  cpu %.3f s/GB  machine %.3f s/GB\n",
			size(c.size), c.conns, c.names[i], s.perSecond(), s.mbPerSecond(), s.p50.Round(time.Microsecond), s.p99.Round(time.Microsecond),
			s.cpuPerGB(), s.machinePerGB())
	}
	return b.String()
}

func size(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func report(cells []cell, servers []*server) {
	fmt.Println("| block | connections | server | blocks/s | MB/s | to Spark | to sendfile | p50 | p99 | server CPU s/GB | machine CPU s/GB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, c := range cells {
		for i, s := range c.samples {
			fmt.Printf("| %s | %d | %s | %.0f | %.0f | %s | %s | %s | %s | %.3f | %.3f |\n", size(c.size), c.conns, c.names[i], s.perSecond(), s.mbPerSecond(),
				c.ratio(s, nameSpark), c.ratio(s, nameSendfile), s.p50.Round(time.Microsecond), s.p99.Round(time.Microsecond), s.cpuPerGB(), s.machinePerGB())
		}
	}
	fmt.Println("\n| server | start to first accept | resident at start | resident at the end | peak |")
	fmt.Println("|---|---|---|---|---|")
	for _, s := range servers {
		fmt.Printf("| %s | %s | %.1f MB | %.1f MB | %.1f MB |\n", s.name, s.startup.Round(time.Millisecond),
			float64(s.rssStart)/1024, float64(s.status("VmRSS"))/1024, float64(s.status("VmHWM"))/1024)
	}
}

func (c cell) ratio(s sample, to string) string {
	base, ok := c.of(to)
	if !ok || base.blocks == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", s.perSecond()/base.perSecond())
}
