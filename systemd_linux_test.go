package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serviceMessages listens as a service manager does. The messages come over the channel.
func serviceMessages(t *testing.T) (socket string, messages <-chan string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	all := make(chan string, 100)
	go func() {
		b := make([]byte, 1000)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			all <- string(b[:n])
		}
	}()
	return socket, all
}

// awaitMessage waits for a message that begins with a text.
func awaitMessage(t *testing.T, messages <-chan string, begin string) string {
	t.Helper()
	for {
		message := await(t, begin, messages)
		if strings.HasPrefix(message, begin) {
			return message
		}
	}
}

func TestServiceReports(t *testing.T) {
	socket, messages := serviceMessages(t)
	cmd := helper(t, "porthole", "-listen", "127.0.0.1:0", "-camera", "emulated")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=300000")
	p := launchCommand(t, cmd)
	awaitMessage(t, messages, "READY=1")
	awaitMessage(t, messages, "STATUS=idle, viewers: 0, emulated camera")
	awaitMessage(t, messages, "WATCHDOG=1")
	viewer := ask(t, "GET", p.url+"/stream")
	awaitMessage(t, messages, "STATUS=live, viewers: 1, emulated camera")
	viewer.Body.Close()
	cmd.Process.Signal(syscall.SIGHUP) // systemctl reload
	awaitMessage(t, messages, "STATUS=live, viewers: 0, emulated camera")
	if status := p.stop(); status != 0 {
		t.Errorf("got status %d, want 0", status)
	}
	awaitMessage(t, messages, "STOPPING=1")
}

// Before the first camera was found, there is nothing to say about it.
func TestServiceStatusFirst(t *testing.T) {
	s := newStream(10, thisHost.sockets)
	sv := newSupervisor(s, nil, settings{}, 0, log.New(io.Discard, "", 0))
	if got, want := (server{s, sv}).statusText(), "idle, viewers: 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What hangs is not alive: a camera whose driver does not return, and a loop that accepts no
// connections.
func TestServiceHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := newStream(10, thisHost.sockets)
	sv := newSupervisor(s, nil, settings{}, 0, log.New(io.Discard, "", 0))
	l := newLimitListener(listener, s, 0, log.New(io.Discard, "", 0))
	accepting := make(chan bool)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepting)
				return
			}
			conn.Close()
		}
	}()
	now := time.Now()
	a := aliveness{supervisor: sv, listener: l, since: now}
	want := func(after time.Duration, want string) {
		t.Helper()
		if got := a.check(now.Add(after)); fmt.Sprint(got) != want {
			t.Errorf("after %v: got %v, want %s", after, got, want)
		}
	}
	sv.waits.Store(true)
	want(2*time.Hour, "<nil>") // nobody watches
	sv.waits.Store(false)
	want(2*time.Hour+2*time.Minute, "the camera hangs for 2m0s") // while it is released
	sv.steps.Add(1)
	want(2*time.Hour, "<nil>")
	sv.updateStatus(func(st *cameraStatus) { st.Mode, st.Device, st.FPS = modeLive, "/dev/video9", 30 })
	want(2*time.Hour+time.Minute, "<nil>")
	want(2*time.Hour+2*time.Minute, "/dev/video9 hangs for 2m0s")
	sv.steps.Add(1)
	want(2*time.Hour+3*time.Minute, "<nil>")
	sv.updateStatus(func(st *cameraStatus) { st.FPS = 0.01 })
	want(2*time.Hour+10*time.Minute, "<nil>") // a picture each 100 s

	listener.Close()
	<-accepting
	if l.accepts(time.Second / 10) {
		t.Error("connections are accepted after the end")
	}
}

// The service manager opens the sockets, of which there may be several, and hands them over.
func TestServiceSockets(t *testing.T) {
	var files []*os.File
	var addresses []string
	for _, network := range []string{"tcp", "unix"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = filepath.Join(t.TempDir(), "socket")
		}
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		file, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		files, addresses = append(files, file), append(addresses, l.Addr().String())
	}
	cmd := helper(t, "activated", "-listen", "127.0.0.1:1", "-camera", "emulated") // which is not used
	cmd.Env, cmd.ExtraFiles = append(cmd.Env, "LISTEN_FDS=2"), files
	p := launchCommand(t, cmd)
	if p.address != addresses[0] {
		t.Errorf("it listens at %s, want %s", p.address, addresses[0])
	}
	for _, network := range []string{"tcp", "unix"} {
		client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial(network, map[string]string{"tcp": addresses[0], "unix": addresses[1]}[network])
		}}}
		response, err := client.Get("http://localhost/healthz")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("over %s: got %s", network, response.Status)
		}
	}
}
