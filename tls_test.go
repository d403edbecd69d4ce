package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeCertificate writes a new certificate for 127.0.0.1 and its key into a directory. It returns
// the flags for them, and the serial number.
func writeCertificate(t testing.TB, dir string) (flags []string, serial string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(&block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"-tls-cert", cert, "-tls-key", keyFile}, template.SerialNumber.String()
}

var trustAll = &tls.Config{InsecureSkipVerify: true}

// dialTLS is dial over TLS.
func dialTLS(t *testing.T, p *program, request string) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), trustAll)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(limit))
	io.WriteString(conn, request)
	return conn
}

const watchRequest = "GET /stream HTTP/1.1\r\nHost: cam.example.com\r\n\r\n"

// The stream over TLS has the same bytes, and every route is there.
func TestTLS(t *testing.T) {
	flags, _ := writeCertificate(t, t.TempDir())
	p := begin(t, append(flags, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100")...)
	conn := dialTLS(t, p, watchRequest)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := partsOf(t, response)
	for last := 0; last < 50; {
		number, jpeg := nextPart(t, parts)
		if !isPicture(string(jpeg)) || number < last {
			t.Fatalf("after frame %d came %d, which is a picture: %t", last, number, isPicture(string(jpeg)))
		}
		last = number
	}
	for _, path := range []string{"/", "/snapshot", "/state", "/settings", "/metrics", "/healthz", "/frames.csv?n=3"} {
		conn := dialTLS(t, p, "GET "+path+" HTTP/1.1\r\nHost: cam.example.com\r\nConnection: close\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != 200 {
			t.Fatalf("%s: got %v, %v", path, response, err)
		}
		text(t, response)
	}
	plain := dial(t, strings.TrimPrefix(p.url, "https://"), "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	if answer, _ := io.ReadAll(plain); !strings.HasPrefix(string(answer), "HTTP/1.0 400 ") {
		t.Errorf("without TLS: got %q, want 400", answer)
	}
}

// Frames of several pieces are whole, however little the socket takes at a time.
func TestTLSLargeFrames(t *testing.T) {
	flags, _ := writeCertificate(t, t.TempDir())
	cert, err := loadCertificate(flags[1], flags[3])
	if err != nil {
		t.Fatal(err)
	}
	s := newStream(1, thisHost.sockets)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	logger := log.New(io.Discard, "", 0)
	web := newWebServer(t.Context(), newHandler(s, &supervisor{stream: s}), thisHost.sockets, logger)
	go newLimitListener(l, s, 0, logger).serve(web, cert)
	defer web.Close()
	defer s.close(0)

	publishJPEG(s, picture1)
	conn := dialTLS(t, &program{url: l.Addr().String()}, watchRequest)
	conn.NetConn().(*net.TCPConn).SetReadBuffer(64 << 10)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := partsOf(t, response)
	nextPart(t, parts)
	for i := range 50 {
		// The last piece of a frame may be as short as a byte.
		want := append(testJPEG(frameSize+1024, byte(i)), make([]byte, 2*tlsPiece-frameSize-1024-4*25+4*i)...)
		publishJPEG(s, want)
		if number, got := nextPart(t, parts); number != i+2 || !bytes.Equal(got, sent(want)) {
			t.Fatalf("got frame %d of %d bytes, want %d of %d", number, len(got), i+2, len(want))
		}
	}
}

// The end of the program is the end of a frame and of TLS, and no broken connection.
func TestTLSStop(t *testing.T) {
	for _, fps := range []string{"0.1", "30"} {
		flags, _ := writeCertificate(t, t.TempDir())
		p := begin(t, append(flags, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", fps)...)
		conn := dialTLS(t, p, watchRequest)
		if _, err := io.ReadFull(conn, make([]byte, 500)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			rest, err := io.ReadAll(conn)
			if err == nil && !bytes.HasSuffix(rest, []byte(boundary)) {
				err = errors.New("the last part is not whole")
			}
			ended <- err
		}()
		p.stop()
		if err := await(t, "the end of the stream", ended); err != nil {
			t.Errorf("fps %s: it ends with %v", fps, err)
		}
	}
}

// A viewer who takes nothing for a while sees the newest frame then, and one who hangs up is gone.
func TestTLSSlowViewer(t *testing.T) {
	flags, _ := writeCertificate(t, t.TempDir())
	p := begin(t, append(flags, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100")...)
	conn := dialTLS(t, p, watchRequest)
	conn.NetConn().(*net.TCPConn).SetReadBuffer(4096)
	state := func() *http.Response { return askTLS(t, p, "/state") }
	var sent string
	eventually(t, "none is sent any more", func() bool {
		body := text(t, state())
		_, after, _ := strings.Cut(body, `"clients": [`)
		before := sent
		_, sent, _ = strings.Cut(after, `"frames_sent": `)
		sent, _, _ = strings.Cut(sent, ",")
		time.Sleep(50 * time.Millisecond)
		return sent != "" && sent == before
	})
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := partsOf(t, response)
	for gap, last := 0, 0; gap < 5; {
		number, jpeg := nextPart(t, parts)
		if !isPicture(string(jpeg)) {
			t.Fatalf("frame %d is not a picture", number)
		}
		if last > 0 {
			gap = number - last
		}
		last = number
	}
	conn.Close()
	eventually(t, "it is gone", func() bool { return strings.Contains(text(t, state()), `"clients": []`) })
}

// askTLS asks for path over TLS.
func askTLS(t *testing.T, p *program, path string) *http.Response {
	t.Helper()
	conn := dialTLS(t, p, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", path))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// SIGHUP loads the certificate again, and viewers stay.
func TestTLSReload(t *testing.T) {
	dir := t.TempDir()
	flags, first := writeCertificate(t, dir)
	cmd := helper(t, "porthole", append(flags, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "30")...)
	p := launchCommand(t, cmd)
	conn := dialTLS(t, p, watchRequest)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := partsOf(t, response)
	serial := func() string {
		return dialTLS(t, p, "").ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if got := serial(); got != first {
		t.Errorf("got certificate %s, want %s", got, first)
	}
	_, second := writeCertificate(t, dir)
	cmd.Process.Signal(syscall.SIGHUP)
	p.logged(t, "the certificate was loaded again")
	if got := serial(); got != second {
		t.Errorf("got certificate %s, want %s", got, second)
	}
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGHUP)
	p.logged(t, "cannot use -tls-cert and -tls-key: tls: failed to find any PEM data in certificate input: the certificate from before goes on")
	if got := serial(); got != second {
		t.Errorf("got certificate %s, want %s", got, second)
	}
	for range 30 {
		nextPart(t, parts)
	}
}

// However many handshakes fail, the log has a line about them. It has none about connections
// that end without a word.
func TestTLSHandshakeLog(t *testing.T) {
	flags, _ := writeCertificate(t, t.TempDir())
	p := begin(t, append(flags, "-listen", "127.0.0.1:0", "-camera", "emulated")...)
	silent := dial(t, strings.TrimPrefix(p.url, "https://"), "")
	silent.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, silent) // until porthole closes it
	for range 20 {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{ServerName: "localhost"})
		if err == nil {
			conn.Close()
			t.Fatal("a certificate of nobody's is trusted")
		}
	}
	if line := p.logged(t, "TLS handshake error"); strings.Contains(line, "EOF") {
		t.Errorf("it logged %q", line)
	}
	p.stop()
	for line := range p.log {
		if strings.Contains(line, "handshake") {
			t.Errorf("it also logged %q", line)
		}
	}
}

func TestTLSWrongFiles(t *testing.T) {
	dir := t.TempDir()
	flags, _ := writeCertificate(t, dir)
	missing := filepath.Join(dir, "missing.pem")
	for _, tt := range []struct {
		cert, key, want string
	}{
		{missing, flags[3], "cannot use -tls-cert and -tls-key: open " + missing + ": no such file or directory\n"},
		{flags[3], flags[1], "cannot use -tls-cert and -tls-key: tls: "},
	} {
		var stderr bytes.Buffer
		status := run(t.Context(), thisHost, []string{"-listen", "127.0.0.1:0", "-tls-cert", tt.cert, "-tls-key", tt.key}, io.Discard, &stderr)
		if _, got, _ := strings.Cut(stderr.String(), "porthole: "); status != 1 || !strings.HasPrefix(got, tt.want) {
			t.Errorf("got status %d, %q, want 1, %q", status, got, tt.want)
		}
	}
}

// BenchmarkTLSFrame encrypts a frame for one viewer, who does not decrypt it.
func BenchmarkTLSFrame(b *testing.B) {
	flags, _ := writeCertificate(b, b.TempDir())
	cert, err := loadCertificate(flags[1], flags[3])
	if err != nil {
		b.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		tls.Client(far, trustAll).Handshake()
		io.Copy(io.Discard, far)
	}()
	conns := make(chan net.Conn, 1)
	conns <- near
	conn, err := newTLSListener(&pipeListener{conns: conns}, cert).Accept()
	if err != nil {
		b.Fatal(err)
	}
	part := testJPEG(frameSize, 1)
	b.SetBytes(int64(len(part)))
	for b.Loop() {
		if _, err := conn.Write(part); err != nil {
			b.Fatal(err)
		}
	}
}
