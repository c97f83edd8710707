package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/internal/peer"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// The servers that are compared.
const (
	nameOurs     = "ours"
	nameSpark    = "Spark"
	nameSendfile = "sendfile"
)

// server is one running server.
type server struct {
	name     string
	addr     string
	cmd      *exec.Cmd
	startup  time.Duration // until it accepted a connection
	rssStart int64         // kB, right after that

}

func startAll(dir string) (out []*server) {
	names := []string{nameOurs, nameSendfile}
	if *sparkHome != "" {
		names = append(names, nameSpark)
	}
	for _, name := range names {
		if *only == "" || slices.Contains(strings.Split(*only, ","), name) {
			out = append(out, start(name, dir))
		}
	}
	return out
}

func start(name, dir string) *server {
	s := &server{name: name, addr: freeAddr()}
	if name == nameSpark {
		s.cmd = sparkCommand(s.addr)
	} else {
		self, err := os.Executable()
		check(err)
		s.cmd = exec.Command(self, "-serve", name, "-sendfile", fmt.Sprint(*sendfileB), "-sizes", *sizesFlag, "-data", fmt.Sprint(*dataMB), "-cpuprofile", *profile)
		s.cmd.Env = append(os.Environ(), "BENCH_ADDR="+s.addr, "BENCH_DIR="+dir)
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	check(err)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	begin := time.Now()
	check(s.cmd.Start())
	for {
		nc, err := net.Dial("tcp", s.addr)
		if err == nil {
			nc.Close()
			break
		}
		if time.Since(begin) > time.Minute {
			check(fmt.Errorf("%s does not start: see %s", name, log.Name()))
		}
		time.Sleep(500 * time.Microsecond)
	}
	s.startup = time.Since(begin)
	s.rssStart = s.status("VmRSS")
	return s
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer l.Close()
	return l.Addr().String()
}

// sparkCommand starts Spark's service as its scripts do, less the second JVM
// that only prints the command line.
func sparkCommand(addr string) *exec.Cmd {
	host, port, _ := net.SplitHostPort(addr)
	args := []string{"-cp", filepath.Join(*sparkHome, "jars", "*"), "-Xmx1g", "-XX:+IgnoreUnrecognizedVMOptions"}
	for _, p := range []string{"java.lang", "java.lang.invoke", "java.io", "java.net", "java.nio", "java.util", "java.util.concurrent", "sun.nio.ch"} {
		args = append(args, "--add-opens=java.base/"+p+"=ALL-UNNAMED")
	}
	cmd := exec.Command("java", append(args, "-Dspark.shuffle.service.port="+port, "org.apache.spark.deploy.mesos.MesosExternalShuffleService")...)
	cmd.Env = append(os.Environ(), "SPARK_LOCAL_IP="+host)
	return cmd
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait() // its exit code says how it took the signal
}

func (s *server) register(loc *blocks.Location) {
	if s.name == nameSendfile {
		return
	}
	c, err := peer.Dial(s.addr, nil)
	check(err)
	defer c.Close()
	_, err = c.RPC(wire.RegisterExecutor{AppID: appID, ExecID: execID, LocalDirs: loc.Dirs, SubDirs: int32(loc.SubDirs),
		ShuffleManager: "org.apache.spark.shuffle.sort.SortShuffleManager"})
	check(err)
}

// status reads a value in kB from /proc.
func (s *server) status(key string) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	check(err)
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n
		}
	}
	return 0
}

// cpu is the CPU time of the server's process.
func (s *server) cpu() time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	check(err)
	f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * tick
}

const tick = 10 * time.Millisecond // USER_HZ is 100 on all Linuxes that Go runs on

// machineCPU is the busy time of all CPUs together, interrupts included, which
// belong to no process.
func machineCPU() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	check(err)
	line, _, _ := strings.Cut(string(raw), "\n")
	var busy int64
	for i, f := range strings.Fields(line)[1:8] {
		if n, _ := strconv.ParseInt(f, 10, 64); i != 3 && i != 4 { // idle, iowait
			busy += n
		}
	}
	return time.Duration(busy) * tick
}

func serve(name string) error {
	if name == nameSendfile {
		return serveSendfile(os.Getenv("BENCH_ADDR"), os.Getenv("BENCH_DIR"))
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		check(err)
		check(pprof.StartCPUProfile(f))
		defer pprof.StopCPUProfile()
	}
	cfg := shuffle.DefaultConfig()
	cfg.Addr, cfg.HTTPAddr, cfg.DataDir = os.Getenv("BENCH_ADDR"), "127.0.0.1:0", filepath.Join(os.Getenv("BENCH_DIR"), "data")
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if *sendfileB > 0 {
		cfg.SendfileBytes = *sendfileB
	}
	s, err := shuffle.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := signalContext()
	defer cancel()
	return errors.Join(s.Serve(ctx), s.Close())
}

// serveSendfile answers chunk requests from the same files as the others, with
// no lookup but an array's. The stream id is the shuffle's number.
func serveSendfile(addr, dir string) error {
	loc := location(dir)
	sizes := numbers(*sizesFlag)
	files := make([][]int, len(sizes))
	for i := range sizes {
		for m := range mapsPerSize {
			d, rel := loc.Find(fmt.Sprintf("shuffle_%d_%d_0.data", i, m))
			f, err := os.Open(filepath.Join(d, rel))
			if err != nil {
				return err
			}
			defer f.Close()
			files[i] = append(files[i], int(f.Fd()))
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ctx, cancel := signalContext()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		nc, err := l.Accept()
		if err != nil {
			return nil
		}
		go func() {
			defer nc.Close()
			plainSendfile(nc.(*net.TCPConn), sizes, files)
		}()
	}
}

func plainSendfile(nc *net.TCPConn, sizes []int, files [][]int) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return
	}
	in := bufio.NewReader(nc)
	request := make([]byte, 21)
	start := rand.IntN(1 << 20)
	for {
		if _, err := io.ReadFull(in, request); err != nil {
			return
		}
		f, err := wire.DecodeFrame(request[8:])
		if err != nil {
			return
		}
		size, chunk := sizes[f.StreamID], int(f.ChunkIndex)
		head, left := wire.AppendChunkHeader(nil, f.StreamID, f.ChunkIndex, int64(size)), int64(size)
		file := files[f.StreamID][chunk/(streamChunks/mapsPerSize)%mapsPerSize]
		off := int64((start+chunk)%reduces(size)) * left
		_ = raw.Write(func(fd uintptr) bool {
			n, err := unix.SendmsgN(int(fd), head, nil, nil, unix.MSG_MORE|unix.MSG_DONTWAIT)
			head = head[max(n, 0):]
			return err != unix.EAGAIN && len(head) == 0
		})
		_ = raw.Write(func(fd uintptr) bool {
			for left > 0 {
				n, err := unix.Sendfile(int(fd), file, &off, int(left))
				if err != nil {
					return err != unix.EAGAIN
				}
				left -= int64(n)
			}
			return true
		})
	}
}
