package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
)

var (
	sparkHome = flag.String("spark", "", "home of Spark 3.5.1 with the Mesos module; empty: without Spark")
	duration  = flag.Duration("duration", 2*time.Second, "length of one measurement")
	warmup    = flag.Duration("warmup", 3*time.Second, "load on each server and block size before anything is measured")
	rounds    = flag.Int("rounds", 3, "measurements per cell and server; the median counts")
	sizesFlag = flag.String("sizes", "4096,65536,1048576,8388608", "block sizes in bytes")
	connsFlag = flag.String("conns", "1,8,64", "numbers of connections")
	dataMB    = flag.Int("data", 256, "megabytes of shuffle files per block size")
	only      = flag.String("only", "", "comma-separated servers to measure; empty: all")
	serveAs   = flag.String("serve", "", "internal: be the named server")
	sendfileB = flag.Int64("sendfile", 0, "spark.shuffle.service.sendfile.minSize of our server")
	profile   = flag.String("cpuprofile", "", "internal: write our server's CPU profile")
)

func main() {
	flag.Parse()
	if *serveAs != "" {
		check(serve(*serveAs))
		return
	}
	dir, err := os.MkdirTemp("", "shuffle-bench")
	check(err)
	defer os.RemoveAll(dir)
	sizes, conns := numbers(*sizesFlag), numbers(*connsFlag)
	loc := prepare(dir, sizes)
	servers := startAll(dir)
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for _, s := range servers {
		s.register(loc)
		for i, size := range sizes { // JVMs need it, the others do not mind
			s.load(i, size, 8, *warmup)
		}
	}
	var cells []cell
	for i, size := range sizes {
		for _, n := range conns {
			c := measure(servers, i, size, n)
			cells = append(cells, c)
			fmt.Fprint(os.Stderr, c)
		}
	}
	report(cells, servers)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func numbers(list string) (out []int) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		check(err)
		out = append(out, n)
	}
	return out
}

const (
	appID, execID = "bench", "1"
	mapsPerSize   = 16
)

// prepare writes, as shuffle number i, map outputs with blocks of sizes[i].
func prepare(dir string, sizes []int) *blocks.Location {
	loc := location(dir)
	for i, size := range sizes {
		data := make([]byte, reduces(size)*size)
		for m := range mapsPerSize {
			index := make([]byte, 8)
			for r := range reduces(size) {
				index = binary.BigEndian.AppendUint64(index, uint64((r+1)*size))
			}
			write(loc, fmt.Sprintf("shuffle_%d_%d_0.index", i, m), index)
			write(loc, fmt.Sprintf("shuffle_%d_%d_0.data", i, m), data)
		}
	}
	return loc
}

func location(dir string) *blocks.Location {
	return &blocks.Location{Dirs: []string{filepath.Join(dir, "blockmgr-bench")}, SubDirs: 64}
}

func reduces(size int) int { return max(1, *dataMB<<20/mapsPerSize/size) }

func write(loc *blocks.Location, name string, p []byte) {
	d, rel := loc.Find(name)
	path := filepath.Join(d, rel)
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	check(os.WriteFile(path, p, 0o644))
}
