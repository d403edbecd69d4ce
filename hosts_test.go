package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"porthole/testdata/skip"
)

// Without a password, only names that others cannot have are answered.
func TestHostNames(t *testing.T) {
	tests := []struct {
		hosts string
		want  bool
	}{
		{"192.168.1.23 192.168.1.23:5000 [fe80::1%25eth0]:5000 [::1]:5000 [fd00::2] 127.0.0.1:80", true},
		{"localhost localhost:5000 LOCALHOST board board:5000", true},
		{"board.local board.local:5000 Board.Local board.local. board.lan board.home board.home.arpa a.b.internal", true},
		{"shed shed.fritz.box shed.example.com:5000 Shed.Example.Com.", true},
		{"cam.example.com CAM.example.com:8080 cam.example.com.", true},
		{"example.com example.com:5000 example.com. evil.example.com local.example.com", false},
		{"garden.shed.example.com shed-1.example.com board.local.example.com board.notlocal cam.example.com.example.net", false},
		{"localhost.example.com 192.168.1.23.example.com 127.0.0.1.nip.io [::1].example.com", false},
	}
	n := newHostNames("Shed.old.example", []string{"cam.example.com"})
	for _, tt := range tests {
		for hostport := range strings.FieldsSeq(tt.hosts) {
			host, _ := splitHost(hostport)
			if got := n.has(host); got != tt.want {
				t.Errorf("%s: got %t, want %t", hostport, got, tt.want)
			}
		}
	}
	if nobody := newHostNames("localhost", nil); nobody.has("localhost.example.com") {
		t.Error("localhost.example.com is answered on a machine without a name")
	}
}

// askAs asks over the network for path, with a Host and more lines of a header.
func askAs(t *testing.T, address, request, host string, header ...string) *http.Response {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	lines := strings.Join(append(header, "", ""), "\r\n")
	conn := dial(t, address, fmt.Sprintf("%s HTTP/1.1\r\nHost: %s\r\n%s", request, host, lines))
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// A browser that has our port in Host has asked us, a proxy on this machine has another.
func TestHosts(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-allow-host", "Cam.example.com")
	_, port, _ := net.SplitHostPort(p.address)
	const xForwarded = "X-Forwarded-Host: evil.example.com"
	tests := []struct {
		name, host string
		header     []string
		want       int
	}{
		{"the address", p.address, nil, 200},
		{"nginx, as it is by default", p.address, nil, 200},
		{"an allowed name", "cam.example.com:" + port, nil, 200},
		{"a proxy that keeps Host, on port 80 or 443", "www.example.com", nil, 200},
		{"a proxy that keeps Host, on another port", "www.example.com:8080", nil, 200},
		{"a proxy that tells Host", "www.example.com", []string{"X-Forwarded-Host: www.example.com"}, 200},
		{"a proxy that tells Host and sends another", p.address, []string{"X-Forwarded-Host: www.example.com"}, 200},
		{"a page whose name leads here", "evil.example.com:" + port, nil, 421},
		{"such a page that says it is a proxy", "evil.example.com:" + port, []string{xForwarded, "X-Forwarded-For: 192.0.2.1"}, 421},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, request := range []string{"GET /state", "GET /", "GET /stream", "GET /healthz", "OPTIONS /settings"} {
				response := askAs(t, p.address, request, tt.host, tt.header...)
				if refused := response.StatusCode == 421; refused != (tt.want == 421) {
					t.Errorf("%s: got %s, want %d", request, response.Status, tt.want)
				} else if got := text421(t, response); refused && !strings.Contains(got, "start porthole with -allow-host evil.example.com, or") {
					t.Errorf("%s: got %q, want the flag that helps", request, got)
				}
			}
		})
	}
	if state := stateOf(t, p); state["clients_total"] != 7.0 {
		t.Errorf("the stream had %v clients, want 7", state["clients_total"])
	}
}

// text421 returns the body of an answer with status 421; others may have no end.
func text421(t *testing.T, response *http.Response) string {
	t.Helper()
	if response.StatusCode != 421 {
		return ""
	}
	return text(t, response)
}

// Port 80 is not in Host.
func TestHostsOnPort80(t *testing.T) {
	n := newHostNames("", nil)
	for host, want := range map[string]bool{"evil.example.com": false, "evil.example.com:80": false, "www.example.com:8080": true, "[::1]": true} {
		r := requestTo(t, "127.0.0.1:80", "127.0.0.1:40000")
		if r.Host = host; (n.check(r) == nil) != want {
			t.Errorf("%s: got %v, want it answered: %t", host, n.check(r), want)
		}
	}
}

// What comes from another machine is no proxy on this one, unless it has the same address.
func TestHostsFromAfar(t *testing.T) {
	n := newHostNames("", nil)
	for peer, want := range map[string]bool{
		"192.168.1.7:40000": false, "[fd00::7]:40000": false,
		"192.168.1.23:40000": true, "[::ffff:192.168.1.23]:40000": true, "[::1]:40000": true,
	} {
		r := requestTo(t, "192.168.1.23:5000", peer)
		if r.Host = "www.example.com"; (n.check(r) == nil) != want {
			t.Errorf("%s: got %v, want it answered: %t", peer, n.check(r), want)
		}
	}
}

// requestTo returns a request as it came from peer to local.
func requestTo(t *testing.T, local, peer string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, tcpAddr(local)), "GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = peer
	return r
}

// Browsers don't use unix sockets: what comes through one is a proxy.
func TestHostsOfSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		skip.Test(t, "the socket's path is one of Unix", "run it on another system")
	}
	path := filepath.Join(t.TempDir(), "socket")
	begin(t, "-listen", "unix:"+path, "-camera", "emulated")
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /state HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != 200 {
		t.Errorf("got %v, %v, want 200", response, err)
	}
}

// Only who listens for others says that they can watch.
func TestOpenIsLogged(t *testing.T) {
	const warning = "anyone on the network can watch and change settings: -auth USER:PASSWORD sets a password"
	for listen, want := range map[string]bool{":0": true, "0.0.0.0:0": true, "127.0.0.1:0": false, "127.0.0.1:0 :0": true} {
		args := []string{"-camera", "emulated"}
		for _, address := range strings.Fields(listen) {
			args = append(args, "-listen", address)
		}
		p := begin(t, args...)
		p.stop()
		got := false
		for line := range p.log {
			got = got || strings.HasSuffix(line, warning)
		}
		if got != want {
			t.Errorf("-listen %s: got the warning %t, want %t", listen, got, want)
		}
	}
}
