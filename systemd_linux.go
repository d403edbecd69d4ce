package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func init() {
	thisHost.inherited = inheritedListeners
	thisHost.reportService = reportService
}

// firstInherited is the number of the first file that a service manager hands over
// (SD_LISTEN_FDS_START in sd_listen_fds(3)).
const firstInherited = 3

// inheritedListeners returns the listening sockets that the service manager has opened for us,
// if it has. Programs that we start do not get them.
func inheritedListeners() (listeners []net.Listener, err error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	n, _ := strconv.Atoi(count)
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for fd := firstInherited; fd < firstInherited+n; fd++ {
		file := os.NewFile(uintptr(fd), "listener")
		l, err := net.FileListener(file) // has a copy of the file
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("file %d from the service manager (LISTEN_FDS): no listening socket: %w", fd, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

const (
	// statusInterval is how often the service manager gets a status, if it has changed.
	statusInterval = 5 * time.Second

	// acceptLimit is how long it may take to accept a connection.
	acceptLimit = 5 * time.Second
)

// reportService tells the service manager when the program is ready, how it is, and that it is
// alive, until ctx ends (sd_notify(3), sd_watchdog_enabled(3)). Without a service manager that
// wants to know, it does nothing.
func reportService(ctx context.Context, v server, l *limitListener) {
	path := os.Getenv("NOTIFY_SOCKET")
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path})
	if path == "" || err != nil {
		return
	}
	defer conn.Close()
	// ExecReload of the unit sends SIGHUP. Without a certificate there is nothing to do.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	tell := func(message string) { conn.Write([]byte(message)) } // nobody could do anything about an error
	tell("READY=1")
	defer tell("STOPPING=1")

	watchdog := watchdogInterval()
	interval := statusInterval
	if watchdog > 0 {
		interval = min(interval, watchdog/3)
	}
	var last string
	var hung bool
	alive := aliveness{supervisor: v.supervisor, listener: l, since: time.Now()}
	for {
		status, err := v.statusText(), alive.check(time.Now())
		if err != nil {
			status = err.Error()
			if !hung {
				l.log.Print(err)
			}
		}
		hung = err != nil
		if status != last {
			last = status
			tell("STATUS=" + status)
		}
		if watchdog > 0 && !hung {
			tell("WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}

// statusText says in a line how the camera is, and how many watch.
func (v server) statusText() string {
	st := v.supervisor.currentStatus()
	text := fmt.Sprintf("%s, viewers: %d", st.Mode, len(v.stream.state().List))
	switch {
	case st.Reason != "":
		text += ", " + st.Reason
	case st.Name != "": // else none was looked for yet
		text += ", " + st.cameraInfo.String()
	}
	return text
}

// watchdogInterval returns how often the service manager wants to hear that we are alive; 0: never.
func watchdogInterval() time.Duration {
	micros, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err != nil || micros <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(micros) * time.Microsecond
}

// aliveness finds out whether the program goes on with what it does.
type aliveness struct {
	supervisor *supervisor
	listener   *limitListener
	steps      uint32    // of the supervisor, at the last check
	since      time.Time // when it took the last step
}

// check returns an error if the supervisor hangs in a camera, as in a driver that does not return,
// or if no connections are accepted.
func (a *aliveness) check(now time.Time) error {
	st := a.supervisor.currentStatus()
	if steps := a.supervisor.steps.Load(); steps != a.steps || a.supervisor.waits.Load() {
		a.steps, a.since = steps, now
	}
	// A camera has its own limits, and a search may try several.
	limit := time.Minute + 2*stallAfter(interval(st.FPS))
	if hung := now.Sub(a.since); hung > limit {
		return fmt.Errorf("%s hangs for %v", cmp.Or(st.label(), "the camera"), hung.Round(time.Second))
	}
	if !a.listener.accepts(acceptLimit) {
		return errors.New("connections are not accepted")
	}
	return nil
}

// accepts reports whether a connection is accepted in time. It makes one for that.
func (l *limitListener) accepts(limit time.Duration) bool {
	before := l.accepted.Load()
	address := l.Addr()
	if tcp, ok := address.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port} // Go listens on both
	}
	conn, err := net.DialTimeout(address.Network(), address.String(), limit)
	if err != nil {
		return false
	}
	defer conn.Close()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(limit / 100) {
		if l.accepted.Load() != before {
			return true
		}
	}
	return false
}
