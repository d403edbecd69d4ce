//go:build linux || darwin

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pkg/term"
	"github.com/pkg/term/termios"
	"golang.org/x/sys/unix"
)

func init() {
	thisHost.openConsole = openConsole
}

const (
	// keys lists the keys.
	keys = "keys: q: quit, s: save a snapshot here, ?: help"

	// maxPending is about how many bytes of the log wait while the terminal takes none.
	// Lines after that are lost.
	maxPending = 16 << 10
)

// A console is the terminal that porthole runs at: a line that shows the status, and keys
// that do something. Log lines go through it, so that they do not mix with that line.
//
// The terminal is shared with the shell. It is ours while our process group is in the
// foreground. Only then does the console write to it, read from it or change it: the kernel
// stops processes that do that in the background. The console restores the terminal before
// the program is stopped or ends for whatever reason, except for SIGKILL and SIGSTOP, other
// signals that nobody sends to a server (SIGUSR1), and a panic in a goroutine that does not
// call release, as those of the clients.
type console struct {
	server
	log  *log.Logger
	quit func()

	signals chan os.Signal
	saving  sync.Mutex // held while a snapshot is on its way

	mu          sync.Mutex   // protects what follows
	term        *term.Term   // nil while there is nothing to restore
	out         int          // the terminal for writing without waiting, while there is term
	saved       unix.Termios // what there is to restore
	active      bool         // the terminal is set up for us, and shows the status
	released    bool         // it is not to be taken again
	status      string       // the status
	shown       string       // what of it is on the screen
	columnsUsed int          // columns of its line that were written to
	pending     []byte       // what is still to be written
}

// openConsole starts a console until ctx ends, if there is a terminal for it. Standard input,
// output and error must all be that one: other programs of a pipe may use the terminal, and
// a shell script gives programs that it starts with & no standard input. The log must go
// there, too.
func openConsole(ctx context.Context, background *sync.WaitGroup, v server, l *log.Logger, quit func()) (release func()) {
	for fd := range 3 {
		// It fails when fd is not the controlling terminal.
		if _, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || l.Writer() != os.Stderr {
			return func() {}
		}
	}
	c := &console{server: v, log: l, quit: quit, signals: make(chan os.Signal, 4)}
	signal.Notify(c.signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH)
	c.updateStatus()
	if foreground() {
		l.Print(keys)
	}
	l.SetOutput(c)
	background.Go(func() { c.stream.panics.catch(func() { c.run(ctx, background) }) })
	return c.release
}

// run runs the console until ctx or a signal ends the program.
func (c *console) run(ctx context.Context, background *sync.WaitGroup) {
	// From then on a signal ends the program at once, so release goes first.
	defer signal.Stop(c.signals)
	defer c.release()
	pressed := make(chan struct{})
	go pollKeys(pressed)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		ours := pressed
		if !c.refresh() {
			ours = nil
		}
		select {
		case <-second.C:
			c.updateStatus()
		case <-ours:
			for _, key := range c.read() {
				c.handleKey(ctx, background, key)
			}
		case sig := <-c.signals:
			if c.handleSignal(sig) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// pollKeys sends when keys are pressed. It only polls. A read that is blocked when the program is
// stopped would go on when the program is continued in the background, and the kernel would
// stop it for that. It ends with the program.
func pollKeys(pressed chan<- struct{}) {
	for waitReady(0, unix.POLLIN, -1) {
		pressed <- struct{}{}
	}
}

// read returns the keys that were pressed, if they are for us.
func (c *console) read() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.active || !foreground() || !waitReady(0, unix.POLLIN, 0) {
		return nil
	}
	pressed := make([]byte, 16)
	n, _ := c.term.Read(pressed)
	return pressed[:n]
}

// handleKey does what a key stands for.
func (c *console) handleKey(ctx context.Context, background *sync.WaitGroup, key byte) {
	switch key {
	case 'q':
		c.quit()
	case 's':
		if c.saving.TryLock() {
			background.Go(func() {
				defer c.saving.Unlock()
				c.stream.panics.catch(func() { c.snapshot(ctx) })
			})
		}
	case '?':
		c.log.Print(keys)
	}
}

// handleSignal handles a signal, and reports whether the program ends.
func (c *console) handleSignal(sig os.Signal) (ends bool) {
	switch sig {
	case unix.SIGTSTP:
		c.suspend()
		return false
	case unix.SIGWINCH:
		return false // run shows the status next
	case unix.SIGCONT:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.active, c.shown, c.columnsUsed = false, "", 0 // others had the terminal meanwhile
		return false
	case unix.SIGHUP, unix.SIGQUIT:
		c.release()
		signal.Stop(c.signals)
		unix.Kill(unix.Getpid(), sig.(unix.Signal)) // as without this console
	}
	return true
}

// suspend stops the program until SIGCONT. A process group that includes the leader of its
// session has no shell that could continue it, and the kernel would not stop it either.
func (c *console) suspend() {
	if session, err := unix.Getsid(0); err != nil || session == unix.Getpgrp() {
		return
	}
	woken := make(chan os.Signal, 1)
	signal.Notify(woken, unix.SIGCONT)
	defer signal.Stop(woken)
	c.mu.Lock()
	c.restore()
	c.mu.Unlock()
	// Not SIGTSTP: the runtime keeps it for itself once it was asked for it.
	unix.Kill(unix.Getpid(), unix.SIGSTOP)
	<-woken
}

// release gives the terminal back for good.
func (c *console) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = true
	c.restore()
}

// restore makes the terminal what it was, without the status. mu is held.
func (c *console) restore() {
	if c.term == nil {
		return
	}
	if foreground() {
		waitReady(c.out, unix.POLLOUT, 100) // 256 bytes that keep a serial console busy take 22 ms
		c.draw("")
		// Not Term.Restore: that waits until all output has been sent, which after
		// Ctrl-S on a serial console is never (TCSETSF in tty_ioctl(4)).
		termios.Tcsetattr(2, termios.TCSANOW, &c.saved)
	}
	c.term.Close()
	unix.Close(c.out)
	c.term, c.active, c.shown, c.columnsUsed = nil, false, "", 0
}

// refresh takes the terminal if it is ours, and shows the status. It reports whether the
// terminal is ours.
func (c *console) refresh() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released || !foreground() {
		c.active, c.shown, c.columnsUsed = false, "", 0
		return false
	}
	if !c.active && c.acquire() != nil {
		return false
	}
	c.flush()
	if line := fit(c.status); (line != c.shown || c.columnsUsed > columns()) && len(c.pending) == 0 {
		c.draw(line)
	}
	return true
}

// acquire sets the terminal to deliver keys at once and not to show them. If SIGSTOP stopped the
// program, the earlier state of the terminal is known already. mu is held.
func (c *console) acquire() (err error) {
	if c.term != nil {
		err = c.term.SetCbreak()
		c.active = err == nil
		return err
	}
	if err = termios.Tcgetattr(2, &c.saved); err != nil {
		return err
	}
	if c.out, err = unix.Open("/dev/tty", unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	if c.term, err = term.Open("/dev/tty", term.CBreakMode); err != nil {
		c.term = nil
		unix.Close(c.out)
		return err
	}
	c.active = true
	return nil
}

// draw replaces the status line. Spaces and no escape sequence cover the rest of the old one:
// every terminal knows these. mu is held.
//
// A terminal that became narrower may have broken the old line into two or more. The cursor
// was left at the start, so it is in the first of them, and ED erases everything from there
// on. Every terminal that can be resized knows that.
func (c *console) draw(line string) {
	if c.columnsUsed > columns() {
		c.pending = append(c.pending, "\r\x1b[J"...)
		c.shown, c.columnsUsed = "", 0
	}
	c.pending = fmt.Appendf(c.pending, "\r%-*s\r", len(c.shown), line)
	c.columnsUsed = max(c.columnsUsed, len(line))
	c.shown = line
	c.flush()
}

// Write writes a line of the log above the status. After Ctrl-S the line waits for Ctrl-Q, but
// the caller does not: the camera and the end of the program write to the log, too.
func (c *console) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.active || !foreground():
		if c.released && !waitReady(2, unix.POLLOUT, 100) {
			return len(line), nil // there is nobody to see it
		}
		os.Stderr.Write(c.pending)
		c.pending = nil
		return os.Stderr.Write(line)
	case len(c.pending) < maxPending:
		status := c.shown
		c.draw("")
		c.pending = append(c.pending, line...)
		c.columnsUsed = 0
		c.draw(fit(status))
	}
	return len(line), nil
}

// flush writes as much as the terminal takes. mu is held.
func (c *console) flush() {
	for len(c.pending) > 0 {
		n, err := unix.Write(c.out, c.pending)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return // after Ctrl-S
		}
		c.pending = c.pending[n:]
	}
}

// updateStatus writes the status line's text. What the clients get is computed from the frames
// of each one's last second, and the size of the newest.
func (c *console) updateStatus() {
	var size int
	if f := c.stream.newest(); f != nil {
		size = len(f.part)
		f.release()
	}
	stream, sent := c.stream.state(), 0.0 // frames per second
	for _, client := range stream.List {
		sent += client.FPS
	}
	st := c.supervisor.currentStatus()
	camera := st.Reason
	if camera == "" && st.Name != "" {
		camera = fmt.Sprintf("%s %dx%d %s", st.Name, st.Width, st.Height, st.Format)
	}
	text := fmt.Sprintf("%s: %.1f fps, clients: %d, %.1f MB/s, %s", st.Mode, stream.FPS, len(stream.List), sent*float64(size)/1e6, camera)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = text
}

// snapshot saves the next picture and logs where, or why not.
func (c *console) snapshot(ctx context.Context) {
	path, err := c.save(ctx)
	switch {
	case err == nil:
		c.log.Printf("snapshot: %s", path)
	case ctx.Err() == nil:
		c.log.Printf("no snapshot: %v", err)
	}
}

// save writes the next picture to a file and returns its path.
func (c *console) save(ctx context.Context) (string, error) {
	if !c.stream.addViewer() {
		return "", fmt.Errorf("%d viewers are watching already (see -max-clients)", c.stream.maxViewers)
	}
	defer c.stream.removeViewer()
	timeout := c.snapshotTimeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f, err := c.stream.frameAfter(ctx, time.Now())
	if err != nil {
		return "", errors.New(c.whyNoPicture(timeout))
	}
	defer f.release()
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return writeNew(filepath.Join(dir, f.at.Format("porthole-20060102-150405")), f.jpeg)
}

// writeNew writes a JPEG to base.jpg, or to base-2.jpg and so on if that exists. It returns the
// path.
func writeNew(base string, jpeg []byte) (string, error) {
	path := base + ".jpg"
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	for i := 2; errors.Is(err, fs.ErrExist); i++ {
		path = fmt.Sprintf("%s-%d.jpg", base, i)
		file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	}
	if err != nil {
		return "", err
	}
	_, err = file.Write(jpeg)
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(path) // half a picture
	}
	return path, err
}

// foreground reports whether the terminal is ours to use now.
func foreground() bool {
	group, err := unix.IoctlGetInt(2, unix.TIOCGPGRP) // tcgetpgrp(3)
	return err == nil && group == unix.Getpgrp()
}

// fit makes text fit into a line of the terminal: only ASCII, since other characters may take
// several columns, and no control characters.
func fit(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), columns())]
}

// columns returns how many characters fit into a line. Some terminals go to the next line after
// the last column, so it is not used. A serial console does not know its size.
func columns() int {
	if size, err := unix.IoctlGetWinsize(2, unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		return int(size.Col) - 1
	}
	return 80 - 1
}

// waitReady waits until a file descriptor is ready for one of events, or has failed:
// for a time in milliseconds, or with -1 without end.
func waitReady(fd int, events int16, timeoutMillis int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, timeoutMillis)
		if err != unix.EINTR {
			return n > 0
		}
	}
}
