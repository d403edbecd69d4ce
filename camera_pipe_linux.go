package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"porthole/mjpeg"
)

const (
	// startTimeout is how long a program may take for its first picture. On a Pi Zero it takes
	// seconds to load its libraries, find the camera and settle the exposure.
	startTimeout = 20 * time.Second

	// pipePoll is how often Capture checks ctx while it waits for a picture.
	pipePoll = 200 * time.Millisecond

	// exitTimeout is how long a program may take to end after it closed its output, or was
	// killed: the driver of its camera may delay it.
	exitTimeout = 2 * time.Second
)

// pipeCamera is a program that has a camera and writes pictures to its standard
// output, one behind the other.
type pipeCamera struct {
	argv  []string // the program's path and its arguments
	info  cameraInfo
	stall time.Duration // the longest time between two pictures
	log   lineLogger    // gets what it says on its standard error

	faster bool                    // than it was asked to be
	due    func(at time.Time) bool // of pictures that are not, none is taken; nil: all are

	pictures pipePictures
	child    *child // nil until the first Capture
	limit    time.Duration
	at       time.Time // of the last read
}

// pipePictures finds the pictures in what a program writes.
type pipePictures interface {
	// fill reads once.
	fill(r io.Reader) error

	// next goes to the newest picture that has come. It reports whether there is one. It
	// returns mjpeg.ErrDamaged if one came that is no good.
	next() (bool, error)

	// appendJPEG appends that picture to dst as a JPEG.
	appendJPEG(dst []byte) ([]byte, error)

	// restart forgets what has come: the program starts again.
	restart()

	close() error
}

// Capture waits for a picture and appends the newest to dst. The first Capture starts the
// program, and not the opening, which also serves to look at what there is.
func (c *pipeCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	if c.child == nil {
		child, err := startChild(c.argv, c.logLine)
		if err != nil {
			return dst, time.Time{}, fmt.Errorf("cannot start the camera's program: %w", err)
		}
		c.child, c.limit = child, max(startTimeout, c.stall)
	}
	for end := time.Now().Add(c.limit); ; {
		found, err := c.pictures.next()
		if found && c.due != nil && !c.due(c.at) {
			end = c.at.Add(c.stall)
			continue
		}
		if found {
			c.limit = c.stall
			dst, err = c.pictures.appendJPEG(dst)
			return dst, c.at, err
		}
		if err == nil {
			err = c.read(ctx, end)
		}
		if err != nil {
			return dst, c.at, c.explain(err)
		}
	}
}

var errStalled = errors.New("the camera stalled")

// read reads once, until end at most.
func (c *pipeCamera) read(ctx context.Context, end time.Time) error {
	for {
		c.at = time.Now()
		if c.at.After(end) {
			return errStalled
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.child.out.SetReadDeadline(c.at.Add(pipePoll)); err != nil {
			return err
		}
		err := c.pictures.fill(c.child.out)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			c.at = time.Now()
			return err
		}
	}
}

// explain ends the program after an error that will not go away, and adds the program's last
// line to the error.
func (c *pipeCamera) explain(err error) error {
	name := filepath.Base(c.argv[0])
	switch {
	case errors.Is(err, mjpeg.ErrDamaged), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case err == io.EOF:
		c.child.stop(exitTimeout)
		return fmt.Errorf("%s ended: %s%s", name, c.child.status(), c.child.lastLine())
	case err == errStalled:
		err = fmt.Errorf("no picture for %v: %w", c.limit, err)
	}
	c.child.stop(0)
	return fmt.Errorf("%s: %w%s", name, err, c.child.lastLine())
}

func (c *pipeCamera) Info() cameraInfo { return c.info }

// setDue lets Capture leave out pictures, if the program takes more than were asked for.
func (c *pipeCamera) setDue(due func(at time.Time) bool) {
	if c.faster {
		c.due = due
	}
}

func (c *pipeCamera) setLog(log func(line string)) { c.log = log }

// logLine passes on a line that the program said. It has no name in it.
func (c *pipeCamera) logLine(line string) {
	c.log.print(filepath.Base(c.argv[0]) + ": " + line)
}

// Close kills the program and waits until it has ended.
func (c *pipeCamera) Close() error {
	c.end()
	return c.pictures.close()
}

// end kills the program, so that Capture starts it again.
func (c *pipeCamera) end() {
	if c.child != nil {
		c.child.stop(0)
		c.child.out.Close()
	}
	c.child = nil
	c.pictures.restart()
}

// A child is a program that we started.
type child struct {
	out     *os.File // what it writes
	process *os.Process

	ended      chan struct{}    // closed when these are set:
	state      *os.ProcessState // how it ended
	lastStderr string           // the last line it wrote to its standard error
}

// startChild starts a program: argv are its path and its arguments. What it says
// on its standard error is told.
func startChild(argv []string, log func(line string)) (*child, error) {
	c := &child{ended: make(chan struct{})}
	started := make(chan error)
	go c.run(argv, log, started)
	return c, <-started
}

// run is the life of a child, from the start until it is reaped.
//
// The kernel kills the child when we end, for whatever reason. It does that at the end of the
// thread that started the child, not of the whole process (PR_SET_PDEATHSIG in prctl(2),
// go.dev/issue/27505), so this goroutine keeps its thread.
func (c *child) run(argv []string, log func(line string), started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.ended)
	stderr, err := c.start(argv)
	started <- err
	if err != nil {
		return
	}
	if p := catch(func() { c.lastStderr = copyLines(stderr, log) }); p != nil {
		c.lastStderr = p.Error()
		catch(func() { log(p.report()) })
		syscall.Kill(-c.process.Pid, syscall.SIGKILL)
	}
	stderr.Close()
	c.state, _ = c.process.Wait() // it is our child: there is no other error
}

// start starts the program, in a process group of its own: Ctrl-C is for us, and programs
// that it starts can be killed with it. It returns the program's standard error.
func (c *child) start(argv []string) (stderr *os.File, err error) {
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer nothing.Close()
	out, outEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outEnd.Close()
	stderr, stderrEnd, err := os.Pipe()
	if err != nil {
		out.Close()
		return nil, err
	}
	defer stderrEnd.Close()
	c.out = out
	c.process, err = os.StartProcess(argv[0], argv, &os.ProcAttr{
		Files: []*os.File{nothing, outEnd, stderrEnd},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		out.Close()
		stderr.Close()
	}
	return stderr, err
}

// stop waits for the child to end, and kills it and all that it started when
// that takes longer than timeout.
func (c *child) stop(timeout time.Duration) {
	if !c.waitExit(timeout) {
		syscall.Kill(-c.process.Pid, syscall.SIGKILL)
		c.waitExit(exitTimeout)
	}
}

// waitExit reports whether the child has ended and was reaped, for which it waits.
func (c *child) waitExit(timeout time.Duration) bool {
	select {
	case <-c.ended:
	case <-time.After(timeout):
	}
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// status tells how the child ended.
func (c *child) status() string {
	if !c.waitExit(0) {
		return "it does not react any more"
	}
	return c.state.String()
}

// lastLine returns what the child complained about last, to be put behind an
// error, once it has ended.
func (c *child) lastLine() string {
	if !c.waitExit(0) || c.lastStderr == "" {
		return ""
	}
	return ": " + c.lastStderr
}

// copyLines reads all that comes and tells each line with something in it, of a
// long one the beginning. It returns the last.
func copyLines(r io.Reader, log func(line string)) (last string) {
	b := bufio.NewReaderSize(r, 512)
	for continued := false; ; {
		line, more, err := b.ReadLine()
		if err != nil {
			return last
		}
		if text := plainLine(string(line)); !continued && text != "" {
			last = text
			log(text)
		}
		continued = more
	}
}

// plainLine makes a line fit for our log: printable, and without the
// "[0:01:23.456789] [1234]" that libcamera puts before each, which would make each
// a new one.
func plainLine(line string) string {
	for strings.HasPrefix(line, "[") {
		_, rest, found := strings.Cut(line, "]")
		if !found {
			break
		}
		line = strings.TrimSpace(rest)
	}
	return printable(line)
}
