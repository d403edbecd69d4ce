package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"porthole/mjpeg"
)

var soakTime = flag.Duration("soak", 4*time.Second, "how long TestSoak lasts")

// A flakyCamera gives 100 pictures a second, of which some are damaged, and is lost now and then.
type flakyCamera struct{ n int }

func init() {
	soak = func() {
		register(driver{
			name: "flaky", rank: 1, devices: func() []string { return []string{"/dev/flaky"} },
			open: func(string, settings) (camera, error) {
				if rand.IntN(8) == 0 {
					return nil, &advisedError{"/dev/flaky: in use by another program", nil}
				}
				return &flakyCamera{}, nil
			},
		})
		go func() {
			for range time.Tick(time.Second / 4) {
				fmt.Println(runtime.NumGoroutine())
			}
		}()
		main()
	}
}

func (c *flakyCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	c.n++
	wait := 10 * time.Millisecond
	if rand.IntN(1000) == 0 {
		wait = time.Second // it stalls for a while
	}
	select {
	case <-ctx.Done():
		return dst, time.Time{}, ctx.Err()
	case <-time.After(wait):
	}
	switch rand.IntN(400) {
	case 0:
		return dst, time.Now(), errors.New("/dev/flaky: the camera is gone: was it unplugged?")
	case 1, 2, 3:
		return dst, time.Now(), mjpeg.Damage("a test")
	}
	return append(dst, testJPEG(frameSize+1024*(1+c.n%8), 's')...), time.Now(), nil
}

func (c *flakyCamera) Info() cameraInfo {
	return cameraInfo{Name: "flaky camera", Driver: "flaky", Device: "/dev/flaky", Format: "MJPG", Width: 16, Height: 16, FPS: 100}
}

func (c *flakyCamera) Close() error { return nil }

// A life is what a process takes.
type life struct{ files, threads, goroutines, resident int } // resident in kB

// TestSoak has clients come, stall and go for some time while the camera is lost and found again,
// and settings change. A good viewer stays, and the program takes as much in the end as after a
// fifth of the time.
func TestSoak(t *testing.T) {
	cmd := helper(t, "soak", "-listen", "127.0.0.1:0", "-camera", "flaky", "-idle", "1s")
	stdout, w := io.Pipe()
	cmd.Stdout = w
	defer w.Close()
	var goroutines atomic.Int32
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var n int32
			fmt.Sscan(lines.Text(), &n)
			goroutines.Store(n)
		}
	}()
	p := launchCommand(t, cmd)
	go func() {
		for range p.log {
		}
	}()
	var frames atomic.Uint32
	good, err := watch(p.address, "/stream?fps=50")
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	go func() {
		parts, err := readStream(good)
		for err == nil {
			if _, err = readPicture(parts); err == nil {
				frames.Add(1)
			}
		}
	}()
	measure := func(d time.Duration) (l life, rate float64) {
		before := frames.Load()
		disturb(p, d)
		rate = float64(frames.Load()-before) / d.Seconds()
		time.Sleep(2 * time.Second) // for what was given up to be cleaned up
		return lifeOf(t, cmd.Process.Pid, int(goroutines.Load())), rate
	}
	start := max(*soakTime/5, 2*time.Second)
	early, earlyRate := measure(start)
	late, lateRate := measure(*soakTime - start)
	t.Logf("after %v: %+v, %.1f frames a second", start, early, earlyRate)
	t.Logf("after %v: %+v, %.1f frames a second", *soakTime, late, lateRate)
	grown := late.resident > early.resident*5/4+2048
	if buildSettings()["-race"] == "true" {
		grown = false // the race detector's memory grows
	}
	if late.files > early.files+3 || late.goroutines > early.goroutines+5 || grown {
		t.Errorf("after %v it takes %+v, and after %v %+v", start, early, *soakTime, late)
	}
	before := frames.Load()
	eventually(t, "the good viewer still gets frames", func() bool { return frames.Load() > before })
}

// lifeOf returns what the process takes.
func lifeOf(t *testing.T, pid, goroutines int) life {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	l := life{files: len(files), goroutines: goroutines}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d kB", &l.resident)
		fmt.Sscanf(line, "Threads: %d", &l.threads)
	}
	return l
}

// disturb is ten clients at a time that do what clients do, and do not do it well, for some time.
func disturb(p *program, d time.Duration) {
	end := time.Now().Add(d)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for time.Now().Before(end) {
				misbehave(p)
			}
		})
	}
	all.Wait()
}

// misbehave makes one request, and mostly breaks it off.
func misbehave(p *program) {
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		return
	}
	defer conn.Close()
	stay := time.Duration(rand.IntN(300)) * time.Millisecond
	conn.SetDeadline(time.Now().Add(stay))
	get := func(path string) { fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path) }
	switch rand.IntN(10) {
	case 0, 1, 2:
		get("/stream")
		io.Copy(io.Discard, conn)
	case 3:
		get("/stream") // and read nothing
		time.Sleep(stay)
	case 4:
		get("/snapshot")
		io.Copy(io.Discard, conn)
	case 5:
		get("/events")
		io.Copy(io.Discard, conn)
	case 6:
		get("/frames.csv")
		io.Copy(io.Discard, conn)
	case 7:
		fmt.Fprint(conn, "GET /stream HTTP/1.1\r\nHo")
		time.Sleep(stay)
	case 8:
		body := fmt.Sprintf("fps=%d", 20+rand.IntN(80))
		fmt.Fprintf(conn, "POST /settings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		time.Sleep(stay) // the camera is opened again
	case 9:
		get("/state")
		http.ReadResponse(bufio.NewReader(conn), nil)
	}
}
