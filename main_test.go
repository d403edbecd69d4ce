package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"porthole/testdata/skip"
)

// limit is when a test gives up on something that takes no time at all: it
// says that something hangs, and must not say that the machine is busy.
const limit = 30 * time.Second

// A program is porthole at work, in this process or in one of its own.
type program struct {
	log     <-chan string // lines
	url     string        // as it was logged, without the last slash
	address string        // the same for net.Dial
	stop    func() int    // ends it and returns its exit status
}

// begin runs porthole in this process until the test ends.
func begin(t *testing.T, args ...string) *program {
	t.Helper()
	return beginOn(t, thisHost, args...)
}

// beginOn is begin on another host.
func beginOn(t *testing.T, h host, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	p := &program{log: scanLines(r)}
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, h, args, io.Discard, w)
		w.Close()
	}()
	p.ends(t, status, cancel)
	p.begun(t)
	return p
}

// launch runs porthole in a process of its own until the test ends, or until
// stop sends it SIGTERM.
func launch(t *testing.T, args ...string) *program {
	t.Helper()
	return launchCommand(t, helper(t, "porthole", args...))
}

// launchCommand is launch of a command that runs porthole.
func launchCommand(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	if runtime.GOOS == "windows" {
		skip.Test(t, "Windows has no SIGTERM", "run it on another system")
	}
	r, w := io.Pipe()
	cmd.Stderr = w
	p := &program{log: scanLines(r)}
	status := startSelf(t, cmd)
	p.ends(t, status, func() { cmd.Process.Signal(syscall.SIGTERM) })
	p.begun(t)
	return p
}

// startSelf starts cmd, which is this program again. Its exit status comes
// over the channel.
func startSelf(t *testing.T, cmd *exec.Cmd) <-chan int {
	t.Helper()
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // or the race detector adds a second
	startProcess(t, cmd)
	status := make(chan int, 1)
	go func() {
		cmd.Wait()
		if w, ok := cmd.Stderr.(*io.PipeWriter); ok {
			w.Close()
		}
		status <- cmd.ProcessState.ExitCode()
	}()
	return status
}

// ends sets p.stop, which is called at the end of the test at the latest.
func (p *program) ends(t *testing.T, status <-chan int, end func()) {
	p.stop = sync.OnceValue(func() int {
		end()
		return await(t, "the exit status", status)
	})
	t.Cleanup(func() { p.stop() })
}

// begun waits for the log line with p's address.
func (p *program) begun(t *testing.T) {
	t.Helper()
	where := p.logged(t, "watch at ")
	p.url = strings.TrimSuffix(where, "/")
	p.address = strings.TrimPrefix(p.url, "http://")
}

// logged waits for a line that has text in it and returns what comes after.
func (p *program) logged(t *testing.T, text string) string {
	t.Helper()
	for {
		line := await(t, "a line with "+text, p.log)
		if _, after, ok := strings.Cut(line, text); ok {
			return after
		}
		t.Log(line)
	}
}

// scanLines sends the lines that come from r, and closes the channel at the end.
func scanLines(r io.Reader) <-chan string {
	lines := make(chan string, 1000) // more than any test logs
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// await receives what comes over a channel.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatalf("%s did not come, and nothing more will", what)
		}
		return v
	case <-time.After(limit):
		t.Fatalf("%s did not come within %v", what, limit)
	}
	panic("not reached")
}

func TestParseArgs(t *testing.T) {
	defaults := options{
		settings:   settings{camera: "auto", width: 640, height: 480, quality: 80, encoder: encoderAuto},
		idle:       10 * time.Second,
		maxClients: 100,
	}
	tests := []struct {
		args string
		set  func(*options) // what is not a default
	}{
		{"", func(*options) {}},
		{"-listen 127.0.0.1:80", func(o *options) { o.listen = []string{"127.0.0.1:80"} }},
		{"-camera emulated", func(o *options) { o.camera = "emulated" }},
		{"-size 1280x720", func(o *options) { o.width, o.height = 1280, 720 }},
		{"-rotate 270 -flip v", func(o *options) { o.turn = turn{270, "v"} }},
		{"-rotate 0 -flip=", func(*options) {}},
		{"-fps 240", func(o *options) { o.fps = 240 }},
		{"-fps 0.5", func(o *options) { o.fps = 0.5 }},
		{"-quality 1", func(o *options) { o.quality = 1 }},
		{"-quality 100", func(o *options) { o.quality = 100 }},
		{"-encoder own", func(o *options) { o.encoder = encoderOwn }},
		{"-set brightness=1", func(o *options) { o.set = []controlSetting{{name: "brightness", value: "1"}} }},
		{"-set b=c=d -set=a=1 -set a=2", func(o *options) { o.set = []controlSetting{{"b", "c=d", false}, {"a", "1", false}, {"a", "2", false}} }},
		{"-idle 0", func(o *options) { o.idle = 0 }},
		{"-idle 1m30s", func(o *options) { o.idle = 90 * time.Second }},
		{"-max-clients 1", func(o *options) { o.maxClients = 1 }},
		{"-allow-host a.example.com -allow-host B.example.com.", func(o *options) { o.allowHosts = []string{"a.example.com", "b.example.com"} }},
		{"-version", func(o *options) { o.version = true }},
		{"--fps=2 --size=16x16", func(o *options) { o.fps, o.width, o.height = 2, 16, 16 }},
	}
	t.Setenv("CAMERA", "")
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			want := defaults
			tt.set(&want)
			got, _, err := parseArgs(strings.Fields(tt.args), thisHost.drivers)
			if !reflect.DeepEqual(got, want) || err != nil {
				t.Errorf("got  %+v, error %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestCameraVariable(t *testing.T) {
	t.Setenv("CAMERA", "emulated")
	for args, want := range map[string]string{"": "emulated", "-camera auto": "auto"} {
		got, _, err := parseArgs(strings.Fields(args), thisHost.drivers)
		if got.camera != want || err != nil {
			t.Errorf("flags %q: got camera %q, error %v, want %q", args, got.camera, err, want)
		}
	}
}

// One of several cameras can be named of drivers that have several.
func TestCameraOfSeveral(t *testing.T) {
	drivers := []driver{{name: "pi", several: true, devices: func() []string { return nil }}, {name: "emulated"}}
	for _, camera := range []string{"pi", "pi:1", "pi:imx477", "/dev/v4l/by-path/usb-0:1.2:1.0-video-index0"} {
		if _, _, err := parseArgs([]string{"-camera", camera}, drivers); err != nil {
			t.Error(err)
		}
	}
	const want = "-camera emulated:1: must be auto, pi, pi:1 or pi:SENSOR for one of several, emulated or a device like /dev/video0"
	if _, _, err := parseArgs([]string{"-camera", "emulated:1"}, drivers); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestWrongArgs(t *testing.T) {
	const wrongURL = "-camera with a URL: must be like http://cam.lan/stream or http://user:password@cam.lan/stream, " +
		"with %40 for @, %2F for / and %3A for : in a password"
	tests := []struct{ args, message string }{
		{"-camera nonsense", "-camera nonsense: must be " + cameraChoice(thisHost.drivers)},
		{"-camera auto:1", "-camera auto:1: must be " + cameraChoice(thisHost.drivers)},
		{"-camera emulated:1", "-camera emulated:1: must be " + cameraChoice(thisHost.drivers)},
		{"-camera http", "-camera http: must be " + cameraChoice(thisHost.drivers)},
		{"-camera http://", wrongURL},
		{"-camera http://anna:se/cret@cam.lan/", wrongURL},
		{"-camera rtsp://anna:secret@cam.lan/", wrongURL},
		{"-fps -1", "-fps -1: must be from 0 to 240"},
		{"-fps 241", "-fps 241: must be from 0 to 240"},
		{"-fps NaN", "-fps NaN: must be from 0 to 240"},
		{"-fps fast", `invalid value "fast" for flag -fps: parse error`},
		{"-rotate 45", `invalid value "45" for flag -rotate: must be 0, 90, 180 or 270`},
		{"-flip x", `invalid value "x" for flag -flip: must be h, v or nothing`},
		{"-quality 0", "-quality 0: must be from 1 to 100"},
		{"-quality 101", "-quality 101: must be from 1 to 100"},
		{"-encoder gpu", "-encoder gpu: must be auto, board or own"},
		{"-set brightness", `invalid value "brightness" for flag -set: must be a control and its value, like brightness=128`},
		{"-set brightness=", `invalid value "brightness=" for flag -set: must be a control and its value, like brightness=128`},
		{"-set =1", `invalid value "=1" for flag -set: must be a control and its value, like brightness=128`},
		{"-idle -1s", "-idle -1s: must not be negative"},
		{"-idle 10", `invalid value "10" for flag -idle: parse error`},
		{"-max-clients 0", "-max-clients 0: must be at least 1"},
		{"-size 640", `invalid value "640" for flag -size: must be a width and a height in pixels, like 640x480`},
		{"-size 640x480x3", `invalid value "640x480x3" for flag -size: must be a width and a height in pixels, like 640x480`},
		{"-size 15x480", `invalid value "15x480" for flag -size: must be a width and a height in pixels, like 640x480`},
		{"-size 640x16385", `invalid value "640x16385" for flag -size: must be a width and a height in pixels, like 640x480`},
		{"-nonsense", "flag provided but not defined: -nonsense"},
		{"-listen", "flag needs an argument: -listen"},
		{"video0", `unexpected argument "video0": all settings are flags, see porthole -h`},
		{"-fps 500 video0", `unexpected argument "video0": all settings are flags, see porthole -h`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) { wantUsageError(t, strings.Fields(tt.args), tt.message) })
	}
}

// wantUsageError runs porthole with wrong arguments.
func wantUsageError(t *testing.T, args []string, message string) {
	t.Helper()
	t.Setenv("CAMERA", "")
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), thisHost, args, &stdout, &stderr)
	if status != 2 || stdout.Len() > 0 {
		t.Errorf("got status %d and %q on stdout, want 2 and nothing", status, &stdout)
	}
	if got, want := stderr.String(), "porthole: "+message+"\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestHelpAndVersion(t *testing.T) {
	tests := []struct{ args, stdout string }{
		{"-h", "Usage: porthole [flags]\n"},
		{"-fps 2 -help", "Usage: porthole [flags]\n"},
		{"-version", "porthole " + release},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), thisHost, strings.Fields(tt.args), &stdout, &stderr)
			if status != 0 || !strings.HasPrefix(stdout.String(), tt.stdout) || stderr.Len() > 0 {
				t.Errorf("got status %d, stdout %q, stderr %q, want 0, %q... and nothing",
					status, &stdout, &stderr, tt.stdout)
			}
		})
	}
}

// TestPlays starts porthole as a user does, on a port that the system chooses.
func TestPlays(t *testing.T) {
	p := launch(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "10")
	if _, port, _ := net.SplitHostPort(p.address); port == "" || port == "0" {
		t.Errorf("it says it is at %s, want the port that was chosen", p.url)
	}
	if got, want := p.logged(t, "camera: "), "emulated camera: 640x480 JPEG at 10 fps"; got != want {
		t.Errorf("got camera %q, want %q", got, want)
	}
	parts := partsOf(t, ask(t, "GET", p.url+"/stream"))
	pictures := [][]byte{picture1, picture2, picture3}
	for seen := make([]bool, 3); slices.Contains(seen, false); {
		number, jpeg := nextPart(t, parts)
		i := (number - 1) % 3
		if !bytes.Equal(jpeg, sent(pictures[i])) {
			t.Fatalf("frame %d is not picture %d", number, i+1)
		}
		seen[i] = true
	}
	if got := p.stop(); got != 0 {
		t.Errorf("got status %d after SIGTERM, want 0", got)
	}
}

// The emulated camera has nothing to set, but stands in for one that has.
func TestEmulatedSet(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-set", "brightness=1")
	want := "-set brightness=1: the emulated camera has no controls"
	if more := p.logged(t, want); more != "" {
		t.Errorf("got %q after that, want no more", more)
	}
	eventually(t, "/state has that reason", func() bool { return stateOf(t, p)["reason"] == want })
	standIn := settings{camera: "auto", set: []controlSetting{{name: "brightness", value: "1"}}}
	c, err := openEmulated("", standIn)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// stall watches the stream and takes nothing, until porthole feels it.
func (p *program) stall(t *testing.T) {
	t.Helper()
	conn := dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	conn.(*net.TCPConn).SetReadBuffer(1) // or megabytes fit in
	var sent, since any
	eventually(t, "ten frames come and none is sent", func() bool {
		state := stateOf(t, p)
		for _, c := range state["clients"].([]any) {
			c := c.(map[string]any)
			if c["address"] == conn.LocalAddr().String() && c["frames_sent"] != sent {
				sent, since = c["frames_sent"], state["frames_captured"]
			}
		}
		return since != nil && state["frames_captured"].(float64) >= since.(float64)+10
	})
}

// TestStop ends porthole while others watch: they see the end of a frame and
// of the stream, and no broken connection.
func TestStop(t *testing.T) {
	t.Run("all wait for a frame", func(t *testing.T) { testStop(t, "0.1", false) })
	t.Run("frames are sent", func(t *testing.T) { testStop(t, "30", false) })
	t.Run("a client takes none", func(t *testing.T) { testStop(t, "30", true) })
}

func testStop(t *testing.T, fps string, stalled bool) {
	p := launch(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", fps)
	const clients = 10
	watching := make(chan error, clients)
	ended := make(chan error, clients)
	for range clients {
		conn := dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
		go func() {
			all := make([]byte, 500)
			_, err := io.ReadFull(conn, all)
			watching <- err
			rest, err := io.ReadAll(conn)
			if all = append(all, rest...); err == nil && !bytes.HasSuffix(all, []byte(boundary)) {
				err = fmt.Errorf("not a boundary: %q", all[len(all)-20:])
			}
			ended <- err
		}()
	}
	for range clients {
		if err := await(t, "the beginning of a stream", watching); err != nil {
			t.Fatal(err)
		}
	}
	if stalled {
		p.stall(t)
	}
	start := time.Now()
	status := p.stop()
	took := time.Since(start)
	t.Logf("it ended %v after SIGTERM", took)
	if status != 0 || took > 5*time.Second {
		t.Errorf("got status %d after %v, want 0 in less than 5 s", status, took)
	}
	for range clients {
		if err := await(t, "the end of a stream", ended); err != nil {
			t.Errorf("a stream ends with %v", err)
		}
	}
	// The port is free at once, although connections were open.
	if next := launch(t, "-listen", p.address, "-camera", "emulated"); next.address != p.address {
		t.Errorf("got %s, want %s again", next.address, p.address)
	}
}

// TestGarbage sends what is not HTTP, or hardly.
func TestGarbage(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100")
	tests := []struct{ name, request, want string }{
		{"binary", "\x00\xff\xfe\x01\r\n\r\n", "HTTP/1.1 400 "},
		{"TLS", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n", "HTTP/1.1 400 "},
		{"no method", "/stream HTTP/1.1\r\nHost: test\r\n\r\n", "HTTP/1.1 400 "},
		{"strange method", "BREW /stream HTTP/1.1\r\nHost: test\r\n\r\n", "HTTP/1.1 405 "},
		{"no host", "GET /stream HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"HTTP/9.9", "GET /stream HTTP/9.9\r\nHost: test\r\n\r\n", "HTTP/1.1 505 "},
		{"bad escape", "GET /%zz HTTP/1.1\r\nHost: test\r\n\r\n", "HTTP/1.1 400 "},
		{"bad query", "GET /stream?fps=%zz;&raw=%%% HTTP/1.1\r\nHost: test\r\n\r\n", "HTTP/1.1 200 "},
		{"dots", "GET /../../etc/passwd HTTP/1.0\r\n\r\n", "HTTP/1.0 307 "},
		{"long header", "GET / HTTP/1.1\r\nHost: test\r\nX: " + strings.Repeat("x", 24<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		{"long address", "GET /?" + strings.Repeat("x", 24<<10) + " HTTP/1.1\r\nHost: test\r\n\r\n", "HTTP/1.1 431 "},
		{"endless", strings.Repeat("x", 64<<10), "HTTP/1.1 431 "},
		{"a body", "GET /stream HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nxxxx", "HTTP/1.1 200 "},
		{"bad chunks", "GET /state HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := dial(t, p.address, tt.request)
			got := make([]byte, len(tt.want))
			n, err := io.ReadFull(conn, got)
			if string(got[:n]) != tt.want {
				t.Errorf("got %q (%v), want %q", got[:n], err, tt.want)
			}
			conn.Close()
			if response := ask(t, "GET", p.url+"/snapshot"); response.StatusCode != 200 {
				t.Errorf("after that: got %s, want a snapshot", response.Status)
			}
		})
	}
	if got := p.stop(); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
	for line := range p.log {
		if strings.Contains(line, "panic") {
			t.Errorf("it logged %q", line)
		}
	}
}

// isPicture reports whether a client got one of the emulated camera's pictures.
func isPicture(jpeg string) bool {
	return slices.ContainsFunc([][]byte{picture1, picture2, picture3}, func(picture []byte) bool {
		return jpeg == string(sent(picture))
	})
}

// A build without device drivers says so, and does not crash.
func TestNoDrivers(t *testing.T) {
	_, _, err := parseArgs([]string{"-camera", "/dev/video0"}, withoutDevices())
	if want := "-camera /dev/video0: must be auto, emulated, a URL like http://cam.lan/stream"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}
