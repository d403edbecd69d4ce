package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkCPU compares the CPU time that a frame costs per client with the
// floor: a loop that writes each frame to each socket and does nothing else.
// 30 frames a second, each to all clients; run with -benchtime 150x.
func BenchmarkCPU(b *testing.B) {
	jpeg := testJPEG(frameSize+1024, 1)
	for _, clients := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("floor/clients=%d", clients), func(b *testing.B) {
			sockets := startFloor(b, clients)
			part := wirePart(jpeg)
			measureCPU(b, clients, func() {
				for _, fd := range sockets {
					unix.Write(fd, part)
				}
			})
		})
		b.Run(fmt.Sprintf("porthole/clients=%d", clients), func(b *testing.B) {
			s, address := serveStream(b, clients)
			startViewers(b, address, clients)
			eventually(b, "all viewers are there", func() bool { return len(s.state().List) == clients })
			measureCPU(b, clients, func() { publishJPEG(s, jpeg) })
		})
	}
}

// measureCPU calls send 30 times a second and reports the CPU time of this
// process per call and client.
func measureCPU(b *testing.B, clients int, send func()) {
	send()
	ticker := time.NewTicker(time.Second / 30)
	defer ticker.Stop()
	before := cpuTime(b)
	n := 0
	for b.Loop() {
		<-ticker.C
		send()
		n++
	}
	<-ticker.C // the last frame's way
	spent := cpuTime(b) - before
	b.ReportMetric(float64(spent.Microseconds())/float64(n*clients), "cpu-us/frame")
	b.ReportMetric(0, "ns/op") // is the pace
}

// wirePart returns a frame as it goes over the wire.
func wirePart(jpeg []byte) []byte {
	f := newStream(1, thisHost.sockets).getFrame()
	f.layOut(append(f.jpegBuffer(), jpeg...), time.Now(), 1)
	return f.part
}

// startFloor accepts viewers, answers, and returns their sockets, which
// block: the least a server can do.
func startFloor(t testing.TB, clients int) []int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	startViewers(t, l.Addr().String(), clients)
	var sockets []int
	for range clients {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(streamHead(false, nil))
		file, err := conn.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		t.Cleanup(func() { file.Close() })
		sockets = append(sockets, blockingFD(t, file))
	}
	return sockets
}

// blockingFD returns the descriptor of file, for calls that wait.
func blockingFD(t testing.TB, file *os.File) int {
	fd := int(file.Fd())
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return fd
}

// cpuTime returns the CPU time that this process has used, user and system.
func cpuTime(t testing.TB) time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkAge measures how old frames are when they arrive at one of 100
// clients on the same machine, 30 a second captured. Run with -benchtime 300x.
func BenchmarkAge(b *testing.B) {
	const address = "127.0.0.1:5090"
	porthole := helper(b, "porthole", "-camera", "emulated", "-fps", "30", "-listen", address)
	porthole.Stderr = nil
	startProcess(b, porthole)
	ages := helper(b, "ages", address, "1", strconv.Itoa(b.N+ageless))
	startViewers(b, address, 99)
	measureAges(b, ages)
}

// BenchmarkMemory measures the memory that a client takes in this process, its
// connection and all: 1000 of them. It is the same however often it runs.
func BenchmarkMemory(b *testing.B) {
	const clients = 1000
	s, address := serveStream(b, clients)
	publishJPEG(s, testJPEG(frameSize+1024, 1))
	before := memory()
	startViewers(b, address, clients)
	eventually(b, "all viewers are there", func() bool { return len(s.state().List) == clients })
	for b.Loop() {
		publishJPEG(s, testJPEG(frameSize+1024, 1))
		time.Sleep(20 * time.Millisecond)
	}
	b.ReportMetric(float64(memory()-before)/clients, "B/client")
	b.ReportMetric(0, "ns/op")
}

// memory returns the bytes that the heap and all stacks take.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// BenchmarkStalled measures the memory of this process while 300 clients that take nothing join
// one after another, each at another frame of 1 MB: where there is much memory, and on a board
// with 64 MB. Run with -benchtime 1x.
func BenchmarkStalled(b *testing.B) {
	debug.SetGCPercent(50) // as run does
	for _, board := range []uint64{512, 64} {
		b.Run(fmt.Sprintf("memory=%dMB", board), func(b *testing.B) {
			const clients = 300
			s, address := serveStream(b, clients)
			s.heldLimit = heldLimit(board << 20)
			jpeg := append(testJPEG(frameSize+1024, 1), make([]byte, 1<<20-frameSize-2048)...)
			before := residentMemory(b)
			most := int64(0)
			for range clients {
				publishJPEG(s, jpeg)
				conn, err := watch(address, "/stream")
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				eventually(b, "it has a part of the frame", func() bool { return s.latest.Load().refs.Load() == 2 })
				most = max(most, residentMemory(b))
			}
			b.ReportMetric(float64(most-before)/1e6, "MB")
			b.ReportMetric(float64(s.clientCount()), "clients-left")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// residentMemory returns how many bytes of this process are in memory: proc_pid_statm(5).
func residentMemory(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
