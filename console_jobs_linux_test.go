package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// plain reports an error when there is more than lines behind start.
func (s *screen) plain(t *testing.T, start int) {
	t.Helper()
	text := strings.ReplaceAll(s.text()[start:], "\r\n", "\n")
	if strings.ContainsAny(text, "\r\x1b") || strings.Contains(text, "clients: ") {
		t.Errorf("got %q, want lines and nothing else", text)
	}
}

// TestJobControl has porthole moved between foreground and background.
func TestJobControl(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newScreen(t)
	cmd := s.own(t, "shell", "-camera", "emulated", "-fps", "30")
	hear, say := pipe(t), pipe(t)
	cmd.ExtraFiles = []*os.File{hear.r, say.w} // 3 and 4 there
	status := startSelf(t, cmd)
	hear.r.Close()
	say.w.Close()
	news := scanLines(say.r)
	order := func(what string) {
		t.Helper()
		if _, err := fmt.Fprintln(hear.w, what); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		if got := await(t, want, news); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}

	// It is started with &.
	p := s.lastAddress(t)
	s.shows(t, "camera: ")
	watching := dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	frames := func() {
		t.Helper()
		if _, err := io.ReadFull(watching, make([]byte, 1<<20)); err != nil {
			t.Error(err)
		}
	}
	frames()
	p.seconds(t, 1.2)
	s.asBefore(t, "in the background")
	s.plain(t, 0)

	order("fg")
	s.shows(t, "\rlive: ")
	s.press(t, "?")
	s.shows(t, keys)
	s.shows(t, "\rlive: ")

	s.press(t, "\x1a") // Ctrl-Z
	expect("stopped")
	s.asBefore(t, "stopped")
	stopped := s.mark(t)
	order("continue")
	expect("continued")
	frames()
	p.seconds(t, 1.2)
	s.asBefore(t, "in the background again")
	s.plain(t, stopped)

	order("fg")
	s.shows(t, "\rlive: ")
	s.press(t, "\x1a")
	expect("stopped")
	order("fg")
	order("continue")
	expect("continued")
	s.shows(t, "\rlive: ")

	// SIGSTOP comes without a warning, and leaves the terminal to the shell.
	order("stop")
	expect("stopped")
	stopped = s.mark(t)
	order("continue")
	expect("continued")
	p.seconds(t, 1.2)
	s.plain(t, stopped)
	order("fg")
	s.shows(t, "\rlive: ")
	s.press(t, "q")
	expect("exited 0")
	await(t, "the end of the shell", status)
	s.asBefore(t, "after q")
}

type pipeEnds struct{ r, w *os.File }

func pipe(t *testing.T) pipeEnds {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return pipeEnds{r, w}
}

func init() {
	shell = runShell
}

// runShell starts porthole as shells do for "&". It is told on file descriptor
// 3 what to do with it: fg (which leaves it stopped), continue or stop, and says on 4 what became of it. The
// terminal is its own when porthole is not in the foreground.
func runShell(args []string) {
	orders, news := bufio.NewScanner(os.NewFile(3, "orders")), os.NewFile(4, "news")
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "PORTHOLE_TEST_RUN=porthole")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check(cmd.Start())
	job := cmd.Process.Pid
	signal.Ignore(unix.SIGTTOU) // or we could not take the terminal back
	go func() {
		for orders.Scan() {
			switch orders.Text() {
			case "fg":
				check(unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, job))
			case "continue":
				unix.Kill(-job, unix.SIGCONT)
			case "stop":
				unix.Kill(-job, unix.SIGSTOP)
			}
		}
		unix.Kill(-job, unix.SIGKILL) // the test is over
		unix.Kill(-job, unix.SIGCONT)
	}()
	for {
		var how unix.WaitStatus
		_, err := unix.Wait4(job, &how, unix.WUNTRACED|unix.WCONTINUED, nil)
		if err == unix.EINTR {
			continue
		}
		check(err)
		if !how.Continued() {
			check(unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, unix.Getpgrp()))
		}
		switch {
		case how.Stopped():
			fmt.Fprintln(news, "stopped")
		case how.Continued():
			fmt.Fprintln(news, "continued")
		default:
			fmt.Fprintln(news, "exited", how.ExitStatus())
			return
		}
	}
}
