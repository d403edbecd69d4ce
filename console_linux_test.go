package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/term/termios"
	"golang.org/x/sys/unix"

	"porthole/testdata/skip"
)

// A screen is a terminal with a person at it.
type screen struct {
	keyboard *os.File // its other end
	terminal *os.File // what programs have
	before   unix.Termios

	mu   sync.Mutex // protects all
	all  string     // that was written to it
	seen int        // how much of that shows went past
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	keyboard, terminal, err := termios.Pty()
	if err != nil {
		t.Log(err)
		skip.Test(t, "there are no pseudo-terminals here", "mount devpts")
	}
	s := &screen{keyboard: keyboard, terminal: terminal, before: attributes(t, terminal)}
	go func() {
		b := make([]byte, 1000)
		for {
			n, err := keyboard.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.all += string(b[:n])
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the terminal got %q", s.text())
		}
		terminal.Close() // goes first, and ends the reading
		keyboard.Close()
	})
	return s
}

// text returns all that was written.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// shows waits for text, behind what was waited for before.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the terminal shows "+text, func() bool {
		rest := s.text()[s.seen:]
		i := strings.Index(rest, text)
		if i >= 0 {
			s.seen += i + len(text)
		}
		return i >= 0
	})
}

// mark returns where what is written from now on begins.
func (s *screen) mark(t *testing.T) int {
	t.Helper()
	if _, err := s.terminal.WriteString("mark\n"); err != nil {
		t.Fatal(err)
	}
	s.shows(t, "mark\r\n")
	return s.seen
}

// press presses keys.
func (s *screen) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := s.keyboard.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// asBefore reports an error unless the terminal is set as it was at first.
func (s *screen) asBefore(t *testing.T, when string) {
	t.Helper()
	if after := attributes(t, s.terminal); after != s.before {
		t.Errorf("%s: got %+v, want %+v as it was", when, after, s.before)
	}
}

// lastAddress returns where the program on the screen says that it is.
func (s *screen) lastAddress(t *testing.T) *program {
	t.Helper()
	s.shows(t, "watch at http://")
	s.shows(t, "/\r\n")
	found := regexp.MustCompile(`watch at (http://(\S+))/\r`).FindAllStringSubmatch(s.text(), -1)
	last := found[len(found)-1]
	return &program{url: last[1], address: last[2]}
}

// seconds waits until p has been running for so long.
func (p *program) seconds(t *testing.T, n float64) {
	t.Helper()
	start := stateOf(t, p)["uptime_s"].(float64)
	eventually(t, fmt.Sprintf("%v seconds have passed", n), func() bool {
		return stateOf(t, p)["uptime_s"].(float64) >= start+n
	})
}

// own returns a command that has the terminal of s, in a session of its own.
func (s *screen) own(t *testing.T, what string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := helper(t, what, append([]string{"-listen", "127.0.0.1:0"}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.terminal, s.terminal, s.terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	return cmd
}

func init() {
	addConsoleFault = func() {
		thisHost.openConsole = func(ctx context.Context, background *sync.WaitGroup, v server, l *log.Logger, _ func()) func() {
			return openConsole(ctx, background, v, l, func() { panic("fault in quit") })
		}
	}
}

// A console that panics leaves the terminal as it was. Who watches goes on.
func TestConsolePanics(t *testing.T) {
	s := newScreen(t)
	cmd := s.own(t, "faulty console", "-camera", "emulated", "-fps", "30")
	status := startSelf(t, cmd)
	p := s.lastAddress(t)
	s.shows(t, "\ridle: ")
	viewers := startViewers(t, p.address, 1)
	s.press(t, "q")
	s.shows(t, "panic: fault in quit\r\n")
	s.shows(t, "(*console).handleKey ")
	eventually(t, "the terminal is as it was", func() bool { return attributes(t, s.terminal) == s.before })
	p.seconds(t, 1)
	if got := stateOf(t, p)["viewers"]; got != 1.0 {
		t.Errorf("%v viewers, want 1", got)
	}
	viewers.Process.Kill()
	cmd.Process.Signal(syscall.SIGTERM)
	if got := await(t, "the end", status); got != 0 {
		t.Errorf("exit status %d, want 0", got)
	}
}

func TestConsole(t *testing.T) {
	s := newScreen(t)
	if err := unix.IoctlSetWinsize(int(s.keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}); err != nil {
		t.Fatal(err)
	}
	cmd := s.own(t, "porthole", "-camera", "emulated", "-fps", "30")
	status := startSelf(t, cmd)
	p := s.lastAddress(t)
	s.shows(t, "\ridle: 0.0 fps, clients: 0, 0.0 MB/s, ")
	if now := attributes(t, s.terminal); now.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != unix.ISIG {
		t.Errorf("keys are not read one by one, unseen: %+v", now)
	}

	watching := dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	ended := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(watching)
		ended <- string(all)
	}()
	s.shows(t, "\rlive: ")
	s.shows(t, "clients: 1, ")

	s.press(t, "x\x1b[A?")
	s.shows(t, keys+"\r\n\rlive: ") // the status goes below

	for range 2 { // perhaps in the same second
		s.press(t, "s")
		s.shows(t, "snapshot: "+cmd.Dir+"/porthole-")
		s.shows(t, ".jpg\r\n")
	}
	saved, _ := filepath.Glob(cmd.Dir + "/porthole-2*.jpg")
	if len(saved) != 2 {
		t.Errorf("got files %q, want two", saved)
	}
	for _, path := range saved {
		if jpeg, err := os.ReadFile(path); err != nil || !isPicture(string(jpeg)) {
			t.Errorf("%s is no picture: %d bytes, error %v", path, len(jpeg), err)
		}
	}

	os.RemoveAll(cmd.Dir)
	s.press(t, "s")
	s.shows(t, "no snapshot: ")
	s.shows(t, "no such file or directory\r\n")

	s.press(t, "q")
	if got := await(t, "the exit status", status); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
	if all := await(t, "the end of the stream", ended); !strings.HasSuffix(all, boundary) {
		t.Errorf("the stream ends with %q, want a boundary", all[max(len(all)-20, 0):])
	}
	s.asBefore(t, "after q")
	for _, line := range regexp.MustCompile(`\r([^\r\n]+)`).FindAllStringSubmatch(s.text(), -1) {
		if len(line[1]) > 59 && !strings.Contains(line[1], "porthole: ") {
			t.Errorf("%q has %d columns, want less than 60", line[1], len(line[1]))
		}
	}
	if all := s.text(); !strings.HasSuffix(all, " \r") {
		t.Errorf("the terminal shows %q at last, want the status gone", all[max(len(all)-20, 0):])
	}
}

// A terminal that becomes narrower makes two lines of the status. Nothing of it stays.
func TestConsoleResized(t *testing.T) {
	s := newScreen(t)
	resize := func(columns uint16) {
		t.Helper()
		if err := unix.IoctlSetWinsize(int(s.keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
			t.Fatal(err)
		}
	}
	resize(70)
	status := startSelf(t, s.own(t, "porthole", "-camera", "emulated"))
	s.shows(t, "\ridle: 0.0 fps, clients: 0, 0.0 MB/s, emulated camera 640x480 JPEG\r") // and the cursor is where it begins
	time.Sleep(100 * time.Millisecond)
	start := len(s.text())
	resize(30)
	s.shows(t, "\r\x1b[J\ridle: 0.0 fps, clients: 0, 0.\r")
	s.press(t, "?")
	s.shows(t, keys)
	resize(100)
	s.shows(t, "\ridle: 0.0 fps, clients: 0, 0.0 MB/s, emulated camera 640x480 JPEG\r")
	if got := strings.Count(s.text()[start:], "\x1b"); got != 1 {
		t.Errorf("got %d escape sequences, want one, when it became narrower", got)
	}
	resize(40)
	s.shows(t, "\r\x1b[J\ridle: 0.0 fps, clients: 0, 0.0 MB/s, em\r")
	s.press(t, "q")
	if got := await(t, "the exit status", status); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
}

// The ways out that a person or the system has, and a bug.
func TestConsoleEnds(t *testing.T) {
	tests := []struct {
		name   string
		end    func(t *testing.T, s *screen, cmd *exec.Cmd)
		status int // -1: ended by a signal
	}{
		{"Ctrl-C", func(t *testing.T, s *screen, cmd *exec.Cmd) { s.press(t, "\x03") }, 0},
		{"Ctrl-Backslash", func(t *testing.T, s *screen, cmd *exec.Cmd) { s.press(t, "\x1c") }, 2},
		{"SIGTERM", func(t *testing.T, s *screen, cmd *exec.Cmd) { cmd.Process.Signal(unix.SIGTERM) }, 0},
		{"SIGHUP", func(t *testing.T, s *screen, cmd *exec.Cmd) { cmd.Process.Signal(unix.SIGHUP) }, -1},
		// Nobody could continue it, so it must not stop.
		{"Ctrl-Z, q", func(t *testing.T, s *screen, cmd *exec.Cmd) { s.press(t, "\x1aq") }, 0},
		{"Ctrl-S, SIGTERM", func(t *testing.T, s *screen, cmd *exec.Cmd) {
			s.press(t, "\x13")
			p := s.lastAddress(t)
			dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
			p.seconds(t, 2.2) // there is something to show
			cmd.Process.Signal(unix.SIGTERM)
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScreen(t)
			cmd := s.own(t, "porthole", "-camera", "emulated")
			status := startSelf(t, cmd)
			s.shows(t, "\ridle: ")
			s.seen = 0
			tt.end(t, s, cmd)
			if got := await(t, "the exit status", status); got != tt.status {
				t.Errorf("got %v, want status %d", cmd.ProcessState, tt.status)
			}
			s.asBefore(t, "at the end")
		})
	}
	t.Run("a panic", func(t *testing.T) {
		s := newScreen(t)
		status := startSelf(t, s.own(t, "broken", "-camera", "broken"))
		p := s.lastAddress(t)
		s.shows(t, "\ridle: ")
		dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
		s.shows(t, "panic: the driver is broken")
		s.shows(t, "\rlost: 0.0 fps, clients: 1, ")
		s.press(t, "q")
		if got := await(t, "the exit status", status); got != 0 {
			t.Errorf("got status %d, want 0", got)
		}
		s.asBefore(t, "after a panic")
	})
}

// Where a terminal is not for porthole alone, it writes lines to the log and
// nothing else.
func TestNoConsole(t *testing.T) {
	t.Parallel() // it mostly waits
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	tests := []struct {
		name string
		set  func(*exec.Cmd)
	}{
		{"started with & by a script", func(cmd *exec.Cmd) { cmd.Stdin = null }},
		{"pipe", func(cmd *exec.Cmd) { cmd.Stdout = io.MultiWriter(io.Discard) }},
		{"no controlling terminal", func(cmd *exec.Cmd) { cmd.SysProcAttr.Setctty = false }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScreen(t)
			cmd := s.own(t, "porthole", "-camera", "emulated")
			tt.set(cmd)
			status := startSelf(t, cmd)
			p := s.lastAddress(t)
			s.shows(t, "camera: ")
			p.seconds(t, 1.2)
			s.asBefore(t, "at work")
			s.press(t, "sq?") // is echoed
			p.seconds(t, 0.2)
			cmd.Process.Signal(unix.SIGTERM)
			if got := await(t, "the exit status", status); got != 0 {
				t.Errorf("got status %d, want 0", got)
			}
			s.plain(t, 0)
		})
	}
	t.Run("log to a file", func(t *testing.T) {
		s := newScreen(t)
		cmd := s.own(t, "porthole", "-camera", "emulated")
		r, w := io.Pipe()
		cmd.Stderr = w
		cmd.SysProcAttr.Ctty = 0
		p := &program{log: scanLines(r)}
		status := startSelf(t, cmd)
		p.ends(t, status, func() { cmd.Process.Signal(unix.SIGTERM) })
		p.begun(t)
		p.seconds(t, 1.2)
		s.asBefore(t, "at work")
		if all := s.text(); all != "" {
			t.Errorf("got %q, want nothing", all)
		}
	})
}

func TestFit(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"live: 30.0 fps", "live: 30.0 fps"},
		{"a \x1b[2J\r\n\x7f Caméra 摄", "a ?[2J??? Cam?ra ?"},
		{strings.Repeat("x", 1000), strings.Repeat("x", columns())},
	} {
		if got := fit(tt.text); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestWriteNew(t *testing.T) {
	base := filepath.Join(t.TempDir(), "picture")
	if err := os.Symlink("nowhere", base+"-2.jpg"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{base + ".jpg", base + "-3.jpg", base + "-4.jpg"} {
		if got, err := writeNew(base, []byte{byte(i)}); got != want || err != nil {
			t.Errorf("got %s, error %v, want %s", got, err, want)
		}
	}
	for i, path := range []string{base + ".jpg", base + "-3.jpg", base + "-4.jpg"} {
		if got, err := os.ReadFile(path); string(got) != string([]byte{byte(i)}) {
			t.Errorf("%s: got %q, error %v", path, got, err)
		}
	}
}
