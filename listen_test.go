package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"porthole/testdata/skip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestCannotListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	tests := []struct{ name, address, message string }{
		{"taken", address, address + ": in use by another program: end it, or choose another address with -listen\n"},
		{"no port", "localhost", "cannot listen on localhost: listen tcp: address localhost: missing port in address\n"},
		{"no port of that name", ":htp", "cannot listen on :htp: listen tcp: lookup tcp/htp: unknown port\n"},
		{"no such port", ":70000", "cannot listen on :70000: listen tcp: address 70000: invalid port\n"},
		{"no such directory", "unix:/nonsense/socket", "cannot listen on unix:/nonsense/socket: listen unix /nonsense/socket: bind: no such file or directory\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			status := run(t.Context(), thisHost, []string{"-listen", tt.address}, io.Discard, &stderr)
			_, message, _ := strings.Cut(stderr.String(), "porthole: ") // the time comes before
			if status != 1 || message != tt.message {
				t.Errorf("got  status %d, %q\nwant status 1, %q", status, message, tt.message)
			}
		})
	}
}

// While an address is not there, or its name not known, nothing fails, and a signal ends
// it as usual.
func TestListenWaits(t *testing.T) {
	for _, address := range []string{"192.0.2.1:5000", "porthole.invalid:5000"} { // RFC 5737, RFC 2606
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		p := &program{log: scanLines(r)}
		status := make(chan int, 1)
		go func() { status <- run(ctx, thisHost, []string{"-listen", address}, io.Discard, w) }()
		p.logged(t, "waiting for it")
		cancel()
		if got := await(t, "the exit status", status); got != 0 {
			t.Errorf("%s: got status %d, want 0", address, got)
		}
	}
}

// An address that comes late is listened on when it is there, and waited for with one
// line in the log.
func TestListenLater(t *testing.T) {
	tests := []struct {
		name, address string
		fails         error
		line          string // in the log; none if it is not waited for
	}{
		{"no such address yet", "192.0.2.1:5000", os.NewSyscallError("bind", syscall.EADDRNOTAVAIL), "192.0.2.1:5000: this machine does not have that address"},
		{"no such name yet", "board.local:5000", &net.DNSError{Err: "no such host", Name: "board.local"}, "no such host: waiting for it"},
		{"in use", "192.0.2.1:5000", os.NewSyscallError("bind", syscall.EADDRINUSE), ""},
		{"no such port", ":htp", &net.DNSError{Err: "unknown port", Name: "tcp/htp"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				listen := func(context.Context, string, string) (net.Listener, error) {
					if time.Since(start) < 5*time.Second {
						return nil, &net.OpError{Op: "listen", Net: "tcp", Err: tt.fails}
					}
					return &pipeListener{}, nil
				}
				var logged bytes.Buffer
				l, err := awaitListener(t.Context(), listen, tt.address, log.New(&logged, "", 0))
				waits := tt.line != ""
				if took := time.Since(start); waits != (err == nil) || waits != (l != nil) || waits != (took == 5*time.Second) {
					t.Errorf("got %v and error %v after %v", l, err, took)
				}
				if got := logged.String(); !strings.Contains(got, tt.line) || waits != (strings.Count(got, "\n") == 1) {
					t.Errorf("it logged %q, want one line with %q", got, tt.line)
				}
			})
		})
	}
}

// A file in the place of the socket is left alone.
func TestListenKeepsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := openListener(t.Context(), thisHost.listen, "unix:"+path); err == nil {
		l.Close()
		t.Error("got a listener in place of a file, want an error")
	}
	if got, err := os.ReadFile(path); string(got) != "precious" {
		t.Errorf("got %q, error %v, want the file as it was", got, err)
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		name   string
		listen net.Addr
		want   string // all there is, or with ... the first of them
	}{
		{"loopback", tcpAddr("127.0.0.1:5000"), "http://127.0.0.1:5000/"},
		{"IPv6 loopback", tcpAddr("[::1]:5000"), "http://[::1]:5000/"},
		{"unix", &net.UnixAddr{Net: "unix", Name: "/run/porthole"}, "unix:/run/porthole"},
		{"all", tcpAddr("[::]:5000"), "http://localhost:5000/..."},
		{"all IPv4", tcpAddr("0.0.0.0:5000"), "http://localhost:5000/..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := urls("http", tt.listen)
			first, more := strings.CutSuffix(tt.want, "...")
			if len(got) == 0 || got[0] != first || len(got) > 1 && !more {
				t.Fatalf("got %q, want %s", got, tt.want)
			}
			for _, address := range got[1:] {
				// An IPv6 address without brackets is none with its port.
				u, err := url.Parse(address)
				if err != nil {
					t.Errorf("%s: %v", address, err)
				} else if host, err := netip.ParseAddrPort(u.Host); err != nil || host.Port() != 5000 || u.Scheme != "http" || u.Path != "/" {
					t.Errorf("got %s, want an address with port 5000: %v", address, err)
				}
			}
		})
	}
}

func tcpAddr(address string) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))
}

// Two addresses are served as one is. A unix socket is for the group, too.
func TestSeveralListeners(t *testing.T) {
	if runtime.GOOS == "windows" {
		skip.Test(t, "Windows has no modes of sockets", "run it on another system")
	}
	path := filepath.Join(t.TempDir(), "socket")
	p := launch(t, "-listen", "127.0.0.1:0", "-listen", "unix:"+path, "-camera", "emulated")
	if where := p.logged(t, "watch at "); where != "unix:"+path {
		t.Errorf("it listens at %s, too, want unix:%s", where, path)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket's mode is %v, error %v, want 660", info.Mode(), err)
	}
	for network, address := range map[string]string{"tcp": p.address, "unix": path} {
		conn, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /healthz HTTP/1.0\r\n\r\n")
		answer, err := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), "HTTP/1.0 200") {
			t.Errorf("over %s: got %.100s, error %v", network, answer, err)
		}
	}
}

// Without -listen, there are other ports when the usual one is in use, and the log says which.
func TestListenUsual(t *testing.T) {
	for name, test := range map[string]struct {
		taken int // ports, of the usual one and the spare ones
		want  string
		line  string
	}{
		"free":         {0, ":5000", ""},
		"in use":       {1, ":8080", ":5000 is in use by another program: :8080 is used instead\n"},
		"spare in use": {3, ":8082", ":5000 is in use by another program: :8082 is used instead\n"},
		"all in use":   {21, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			listen := func(_ context.Context, _, address string) (net.Listener, error) {
				asked = append(asked, address)
				if len(asked) <= test.taken {
					return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
				}
				return &pipeListener{}, nil
			}
			var logged bytes.Buffer
			_, err := openListeners(t.Context(), listen, nil, log.New(&logged, "", 0))
			if got := asked[len(asked)-1]; err == nil && got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %s, error %v, want %s", got, err, test.want)
			}
			if got := logged.String(); got != test.line {
				t.Errorf("it logged %q, want %q", got, test.line)
			}
		})
	}
}

// The name in .local is shown if avahi says that it is this machine's.
func TestLocalName(t *testing.T) {
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	own := []net.Addr{&net.IPNet{IP: net.IPv4(192, 168, 1, 23), Mask: net.CIDRMask(24, 32)}}
	for answer, want := range map[string]string{
		"+ 2 0 " + host + ".local 192.168.1.23\n": host + ".local",
		"+ 2 0 " + host + ".local 192.168.1.99\n": "", // another machine's
		"-15 Timeout reached\n":                   "",
		"":                                        "",
	} {
		path := filepath.Join(t.TempDir(), "socket")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			question := make([]byte, 100)
			if n, _ := conn.Read(question); string(question[:n]) == "RESOLVE-HOSTNAME "+host+".local\n" {
				io.WriteString(conn, answer)
			}
		}()
		if got := localName(path, limit, own); got != want {
			t.Errorf("%q: got %q, want %q", answer, got, want)
		}
	}
	if got := localName(filepath.Join(t.TempDir(), "none"), limit, own); got != "" {
		t.Errorf("without avahi: got %q", got)
	}
}
