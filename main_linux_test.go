package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/term/termios"
	"golang.org/x/sys/unix"

	"porthole/testdata/skip"
)

// TestTerminal has porthole in a terminal of its own, where a person types.
func TestTerminal(t *testing.T) {
	t.Run("Ctrl-C", func(t *testing.T) { testTerminal(t, 1) })
	t.Run("Ctrl-C twice", func(t *testing.T) { testTerminal(t, 2) })
}

func testTerminal(t *testing.T, times int) {
	keyboard, terminal, err := termios.Pty()
	if err != nil {
		t.Log(err)
		skip.Test(t, "there are no pseudo-terminals here", "mount devpts")
	}
	defer keyboard.Close()
	defer terminal.Close() // goes first, and ends scanLines
	before := attributes(t, terminal)

	cmd := helper(t, "porthole", "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "30")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	status := startSelf(t, cmd)
	p := &program{log: scanLines(keyboard)}
	p.begun(t)
	p.stall(t) // so that there is time for a second Ctrl-C
	watching := dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	if _, err := io.ReadFull(watching, make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	for range times {
		if _, err := keyboard.WriteString("\x03"); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, watching) // ends when porthole begins to
	}
	got := await(t, "the exit status", status)
	how := cmd.ProcessState.Sys().(syscall.WaitStatus)
	t.Logf("it ended with %v", cmd.ProcessState)
	if atOnce := times > 1 && how.Signal() == syscall.SIGINT; got != 0 && !atOnce {
		t.Errorf("got %v, want exit status 0", cmd.ProcessState)
	}
	if after := attributes(t, terminal); after != before {
		t.Errorf("got  %+v\nwant %+v, as it was", after, before)
	}
}

// attributes returns the settings of a terminal.
func attributes(t *testing.T, terminal *os.File) unix.Termios {
	t.Helper()
	var a unix.Termios
	if err := termios.Tcgetattr(terminal.Fd(), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	leaveSocket(t, path) // as a porthole does that was killed
	args := []string{"-listen", "unix:" + path, "-camera", "emulated", "-fps", "100"}
	p := begin(t, args...)
	if want := "unix:" + path; p.url != want {
		t.Errorf("it says it is at %s, want %s", p.url, want)
	}

	var stderr bytes.Buffer
	status := run(t.Context(), thisHost, args, io.Discard, &stderr)
	if want := path + ": in use by another program"; status != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("a second one: got status %d, %q, want 1, %q", status, &stderr, want)
	}

	client := &http.Client{Timeout: limit, Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) },
	}}
	for path, want := range map[string]string{
		"stream":   "multipart/x-mixed-replace; boundary=frame",
		"snapshot": "image/jpeg",
		"state":    "application/json",
	} {
		response, err := client.Get("http://porthole/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if got := response.Header.Get("Content-Type"); response.StatusCode != 200 || got != want {
			t.Errorf("/%s: got %s, %s, want %s", path, response.Status, got, want)
		}
		switch path {
		case "stream":
			if _, jpeg := nextPart(t, partsOf(t, response)); !isPicture(string(jpeg)) {
				t.Errorf("/stream: got %d bytes that are none of the pictures", len(jpeg))
			}
		case "snapshot":
			if jpeg := text(t, response); !isPicture(jpeg) {
				t.Errorf("/snapshot: got %d bytes that are none of the pictures", len(jpeg))
			}
		}
	}

	if got := p.stop(); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there (%v)", err)
	}
}

// leaveSocket leaves a unix socket that nobody listens on.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestListenDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		skip.Test(t, "root may listen anywhere", "run it as another user")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	address := "unix:" + dir + "/socket"
	var stderr bytes.Buffer
	status := run(t.Context(), thisHost, []string{"-listen", address}, io.Discard, &stderr)
	want := address + ": permission denied: run as root, or choose another address with -listen"
	if status != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("got status %d, %q, want 1, %q", status, &stderr, want)
	}
}
