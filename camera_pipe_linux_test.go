package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"porthole/mjpeg/mjpegtest"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	playPipe = func(program string) {
		c := &pipeCamera{pictures: &jpegPictures{}, argv: []string{program}, stall: time.Minute}
		for {
			_, _, err := c.Capture(context.Background(), nil)
			check(err)
			fmt.Println("picture")
		}
	}
}

// standIn writes a shell script to stand in for a camera's program. It finds
// these in its directory: a.jpg, and b.jpg, which has a thumbnail.
func standIn(t *testing.T, name, script string) (path string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, name)
	small := mjpegtest.SmallJPEG(t)
	for path, content := range map[string]string{
		filepath.Join(dir, "a.jpg"): string(small),
		filepath.Join(dir, "b.jpg"): string(mjpegtest.InsertAfterSOI(testJPEG(50_000, 'b'), mjpegtest.Segment(0xe1, small))),
		path:                        "#!/bin/sh\ncd " + dir + "\n" + script + "\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// pipeFrom returns the camera that a script stands in for.
func pipeFrom(t *testing.T, script string) *pipeCamera {
	t.Helper()
	c := &pipeCamera{pictures: &jpegPictures{}, argv: []string{standIn(t, "standin", script), "-o", "-"}, stall: 10 * time.Second}
	t.Cleanup(func() { c.Close() })
	return c
}

// file returns a file beside the stand-in.
func (c *pipeCamera) file(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(filepath.Dir(c.argv[0]), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// wantCapture wants one of the pictures next.
func (c *pipeCamera) wantCapture(t *testing.T, picture string) {
	t.Helper()
	before := time.Now()
	got, at, err := c.Capture(t.Context(), []byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "before"+picture {
		t.Fatalf("got %d bytes, want %d", len(got)-len("before"), len(picture))
	}
	if at.Before(before) && time.Since(before) > time.Second || at.After(time.Now()) {
		t.Errorf("captured at %v, asked for at %v", at, before)
	}
}

// wantError wants Capture to fail so.
func (c *pipeCamera) wantError(t *testing.T, want string) {
	t.Helper()
	got, _, err := c.Capture(t.Context(), []byte("before"))
	if err == nil || err.Error() != want {
		t.Errorf("got error  %v\nwant error %s", err, want)
	}
	if string(got) != "before" {
		t.Errorf("got %q with the error", got)
	}
}

// Pictures come out as they are, in whatever pieces they were written.
func TestPipe(t *testing.T) {
	c := pipeFrom(t, `
		echo "$@" >arguments
		echo Running without preview window
		read key || echo $? >input
		head -c 10000 b.jpg; sleep 0.2; tail -c +10001 b.jpg
		sleep 0.2; head -c 1 a.jpg; sleep 0.2; tail -c +2 a.jpg
		exec sleep 1000`)
	if c.child != nil {
		t.Error("the program was started before the first Capture")
	}
	c.wantCapture(t, c.file(t, "b.jpg"))
	c.wantCapture(t, c.file(t, "a.jpg"))
	if got := c.file(t, "arguments"); got != "-o -\n" {
		t.Errorf("its arguments are %q", got)
	}
	if got := c.file(t, "input"); got != "1\n" {
		t.Errorf("reading its input gives %q, want the end of it", got)
	}
}

// The newest of several pictures that wait in the pipe is taken.
func TestPipeNewest(t *testing.T) {
	c := pipeFrom(t, `cat a.jpg; until [ -e go ]; do sleep 0.01; done
		cat a.jpg a.jpg b.jpg; head -c 100 a.jpg; touch gone; exec sleep 1000`)
	c.wantCapture(t, c.file(t, "a.jpg"))
	dir := filepath.Dir(c.argv[0])
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has written all", func() bool { _, err := os.Stat(dir + "/gone"); return err == nil })
	c.wantCapture(t, c.file(t, "b.jpg"))
}

func TestPipeDamaged(t *testing.T) {
	c := pipeFrom(t, `head -c 1000 a.jpg; head -c 2 b.jpg; sleep 0.5; tail -c +3 b.jpg; sleep 0.5; cat standin a.jpg; exec sleep 1000`)
	c.wantError(t, "damaged picture: it is cut off")
	c.wantCapture(t, c.file(t, "b.jpg"))
	c.wantCapture(t, c.file(t, "a.jpg"))
}

// A damaged picture that comes together with a good one is not forgotten.
func TestPipeDamagedBehind(t *testing.T) {
	c := pipeFrom(t, `(cat a.jpg; head -c 1000 a.jpg; printf '\377\305'; cat b.jpg) >all; cat all; exec sleep 1000`)
	c.wantCapture(t, c.file(t, "a.jpg"))
	c.wantError(t, "damaged picture: there is a marker inside its data that cannot be there")
	c.wantCapture(t, c.file(t, "b.jpg"))
}

// What is odd at most comes out whole, as from a video node.
func TestPipeRepairs(t *testing.T) {
	c := pipeFrom(t, `head -c -2 a.jpg; (head -c 2 b.jpg; printf 'junk'; tail -c +3 b.jpg; printf '\377\331'; head -c 2 a.jpg) >odd
		head -c 2 odd; sleep 0.5; tail -c +3 odd; exec sleep 1000`)
	c.wantCapture(t, c.file(t, "a.jpg"))
	c.wantCapture(t, c.file(t, "b.jpg"))
}

// A program that ends is an error that says why.
func TestPipeEnds(t *testing.T) {
	long := strings.Repeat("x", 700)
	for _, test := range []struct{ name, script, want string }{
		{"quietly", "exit 0", "standin ended: exit status 0"},
		{"with an error", "echo one >&2; echo 'ERROR: *** no cameras available ***' >&2; echo >&2; exit 255",
			"standin ended: exit status 255: ERROR: *** no cameras available ***"},
		{"without a newline", "printf two >&2; exit 1", "standin ended: exit status 1: two"},
		{"as libcamera logs", "echo '[0:24:11.415660787] [10635]  WARN V4L2 busy' >&2; exit 1",
			"standin ended: exit status 1: WARN V4L2 busy"},
		{"with control characters", `printf 'a\033[1m\tb\a\377c\n' >&2; exit 1`, "standin ended: exit status 1: a[1mb?c"},
		{"with a long line", "echo " + long + " >&2; exit 1", "standin ended: exit status 1: " + long[:512]},
		{"after a flood", "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done >&2; exit 1", "standin ended: exit status 1: 19999"},
		{"by a signal", "kill -KILL $$", "standin ended: signal: killed"},
		{"in the middle of a picture", "head -c 100 a.jpg", "standin ended: exit status 0"},
		{"its output only", "exec >&-; sleep 1000", "standin ended: signal: killed"},
		{"with a child that lives on", "sleep 1000 >&- & exit 3", "standin ended: signal: killed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if strings.HasSuffix(test.name, "lives on") {
				want = "standin ended: exit status 3" // the child has only its standard error
			}
			c := pipeFrom(t, test.script)
			c.wantError(t, want)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			wantNoChildren(t)
		})
	}
}

// The program's lines are logged at once, not only when it ends.
func TestPipeTells(t *testing.T) {
	c := pipeFrom(t, `echo '[0:24:11.415660787] [10635]  INFO Camera configuring streams' >&2
		printf ' \t \n\n' >&2; echo two >&2; printf unfinished >&2; cat a.jpg; exec sleep 1000`)
	lines := make(chan string, 10)
	c.setLog(func(line string) { lines <- line })
	c.wantCapture(t, c.file(t, "a.jpg"))
	for _, want := range []string{"standin: INFO Camera configuring streams", "standin: two"} {
		if got := <-lines; got != want {
			t.Errorf("it told %q, want %q", got, want)
		}
	}
	c.Close()
	if got := <-lines; got != "standin: unfinished" || len(lines) > 0 {
		t.Errorf("it told %q and %d more lines", got, len(lines))
	}
}

func TestPipeCannotStart(t *testing.T) {
	c := &pipeCamera{pictures: &jpegPictures{}, argv: []string{filepath.Join(t.TempDir(), "nothing")}}
	c.wantError(t, "cannot start the camera's program: fork/exec "+c.argv[0]+": no such file or directory")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestPipeStalls(t *testing.T) {
	c := pipeFrom(t, "cat a.jpg; echo Dequeue timer expired >&2; while sleep 0.1; do printf garbage; done")
	c.stall = 500 * time.Millisecond
	c.wantCapture(t, c.file(t, "a.jpg"))
	start := time.Now()
	c.wantError(t, "standin: no picture for 500ms: the camera stalled: Dequeue timer expired")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("noticed after %v", took)
	}
	wantNoChildren(t)
}

// The first picture may take longer than the others.
func TestPipeStartsSlowly(t *testing.T) {
	c := pipeFrom(t, "sleep 1; cat a.jpg; exec sleep 1000")
	c.stall = 300 * time.Millisecond
	c.wantCapture(t, c.file(t, "a.jpg"))
}

func TestPipeCanceled(t *testing.T) {
	c := pipeFrom(t, "cat a.jpg; exec sleep 1000")
	c.wantCapture(t, c.file(t, "a.jpg"))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	if _, _, err := c.Capture(ctx, nil); err != context.Canceled {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

// Close ends also what the program started, and leaves nothing behind.
func TestPipeClose(t *testing.T) {
	const script = "sleep 1000 & echo $! >pid; trap '' INT TERM HUP; cat a.jpg; wait"
	c := pipeFrom(t, script)
	c.wantCapture(t, c.file(t, "a.jpg"))
	c.Close()
	pid := c.file(t, "pid")
	eventually(t, "its child is gone", func() bool { return !alive(t, pid) })

	program := c.argv
	files, routines := countFiles(t), runtime.NumGoroutine()
	for range 100 {
		c := &pipeCamera{pictures: &jpegPictures{}, argv: program, stall: 10 * time.Second}
		if _, _, err := c.Capture(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		wantNoChildren(t)
	}
	eventually(t, "no goroutines are left", func() bool { return runtime.NumGoroutine() <= routines })
	if got := countFiles(t); got != files {
		t.Errorf("%d files are open, %d before", got, files)
	}
}

func countFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// wantNoChildren wants no process of ours to be left, not even a zombie.
func wantNoChildren(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("there are children left (%d, %v)", pid, err)
	}
}

// alive reports whether a process runs. A zombie does not; an orphan may be
// one for as long as its new parent likes.
func alive(t *testing.T, pid string) bool {
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat") // proc_pid_stat(5)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return rest[0] != 'Z' && rest[0] != 'X'
}

// The program is killed when we are, and we have no time to do it.
func TestPipeKilledWithUs(t *testing.T) {
	program := standIn(t, "standin", "echo $$ >pid; while cat a.jpg; do read x <fifo; done")
	dir := filepath.Dir(program)
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := helper(t, "play pipe", program)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	startProcess(t, cmd)
	if _, err := io.ReadFull(out, make([]byte, len("picture\n"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	pid := string(text)
	if !alive(t, pid) {
		t.Fatal("it ended by itself")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is gone", func() bool { return !alive(t, pid) })
}

// The kernel kills the program when the thread ends that started it: that may
// not be one that ends before we do.
func TestPipeThread(t *testing.T) {
	c := pipeFrom(t, "cat a.jpg; until [ -e go ]; do sleep 0.01; done; cat b.jpg; exec sleep 1000")
	c.wantCapture(t, c.file(t, "a.jpg"))
	endThreads(t)
	if err := os.WriteFile(filepath.Dir(c.argv[0])+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.wantCapture(t, c.file(t, "b.jpg"))
}

// endThreads ends the threads that are free for any goroutine, but the first
// one, which never ends: goroutines take them that end while they are locked.
func endThreads(t *testing.T) {
	var ready, done sync.WaitGroup
	hold := make(chan bool)
	for range 50 {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			<-hold
			if unix.Gettid() == unix.Getpid() {
				runtime.UnlockOSThread()
			}
		})
	}
	ready.Wait()
	before := countThreads(t)
	close(hold)
	done.Wait()
	eventually(t, "threads have ended", func() bool { return countThreads(t) < before-30 })
}

func countThreads(t *testing.T) int {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(threads)
}

func TestPipeAllocs(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	c := &pipeCamera{pictures: &jpegPictures{}, argv: []string{""}, child: &child{out: out}, limit: time.Minute, stall: time.Minute}
	picture := testJPEG(50_000, 'a')
	dst := make([]byte, 0, 100_000)
	got := testing.AllocsPerRun(100, func() {
		if _, err := in.Write(picture); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Capture(t.Context(), dst); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations per picture", got)
	}
}

// Pictures that are not due are left out, and do not count as a stall.
func TestPipeLeavesOut(t *testing.T) {
	c := pipeFrom(t, `cat a.jpg; sleep 0.2; cat a.jpg; sleep 0.2; cat b.jpg; exec sleep 1000`)
	c.stall, c.faster = 5*time.Second, true
	asked := 0
	c.setDue(func(at time.Time) bool {
		asked++
		return asked == 3
	})
	c.wantCapture(t, c.file(t, "b.jpg"))
}
