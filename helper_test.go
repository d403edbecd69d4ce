package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"porthole/testdata/skip"
)

// TestMain runs the tests, or what a test needs to have in a process of its
// own: porthole itself, or viewers whose work is not to be counted as ours.
func TestMain(m *testing.M) {
	switch os.Getenv("PORTHOLE_TEST_RUN") {
	case "porthole":
		main()
	case "activated": // by a service manager, which alone knows the number of the process before
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		main()
	case "viewers":
		runViewers(os.Args[1], os.Args[2])
	case "ages":
		printAges(os.Args[1], os.Args[2], os.Args[3])
	case "play pipe":
		playPipe(os.Args[1])
	case "shell":
		shell(os.Args[1:])
	case "soak":
		soak()
	case "faulty console":
		addConsoleFault()
		main()
	case "broken":
		registerBroken()
		main()
	default:
		flag.Set("test.parallel", "4") // they mostly wait
		os.Exit(skip.Main(m))
	}
}

// shell runs a program as shells do. It is set in console_linux_test.go.
var shell func(command []string)

// addConsoleFault has the key q panic. It is set in console_linux_test.go.
var addConsoleFault func()

// soak is porthole with a camera that is lost now and then. It is set in soak_linux_test.go.
var soak func()

// playPipe reads the pictures that a program writes. It is set in camera_pipe_linux_test.go.
var playPipe func(program string)

// helper returns a command that runs this test binary as something else.
func helper(t testing.TB, what string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "PORTHOLE_TEST_RUN="+what)
	cmd.Stderr = os.Stderr
	return cmd
}

// startViewers starts n viewers of the stream at address in a process of
// their own, which ends with the test. The frames are thrown away unread.
func startViewers(t testing.TB, address string, n int) *exec.Cmd {
	t.Helper()
	cmd := helper(t, "viewers", address, strconv.Itoa(n))
	startProcess(t, cmd)
	return cmd
}

// startProcess starts cmd, which ends with the test.
func startProcess(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	err := cmd.Start()
	if errors.Is(err, syscall.ENOEXEC) {
		skip.Test(t, "this system runs the tests in an emulator and cannot start them as programs", "run them where it can")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

func runViewers(address, count string) {
	n, err := strconv.Atoi(count)
	check(err)
	done := make(chan error)
	for range n {
		conn, err := watch(address, "/stream")
		check(err)
		go func() {
			_, err := discard(conn)
			done <- err
		}()
	}
	for range n {
		<-done
	}
}

// printAges lets viewers watch the stream at address. It prints how old a
// frame is when its last byte is at one of them, in microseconds, until there are
// count such lines.
func printAges(address, viewers, count string) {
	n, err := strconv.Atoi(viewers)
	check(err)
	left, err := strconv.Atoi(count)
	check(err)
	ages := make(chan time.Duration)
	for range n {
		conn, err := watch(address, "/stream")
		check(err)
		go sendAges(conn, ages)
	}
	for range left {
		fmt.Println((<-ages).Microseconds())
	}
}

// sendAges sends the age of each frame that comes.
func sendAges(conn net.Conn, ages chan<- time.Duration) {
	parts, err := readStream(conn)
	check(err)
	for last := ""; ; {
		part, err := parts.NextPart()
		check(err)
		_, err = io.Copy(io.Discard, part)
		check(err)
		now := time.Now()
		if id := part.Header.Get("X-Frame"); id != last {
			last = id
			ages <- now.Sub(timestamp(part.Header))
		}
	}
}

// registerBroken adds a camera with a driver that panics.
func registerBroken() {
	open := func(string, settings) (camera, error) { return brokenCamera{}, nil }
	register(driver{name: "broken", open: open})
}

type brokenCamera struct{}

func (brokenCamera) Info() cameraInfo { return cameraInfo{Name: "broken camera"} }
func (brokenCamera) Close() error     { return nil }
func (brokenCamera) Capture(context.Context, []byte) ([]byte, time.Time, error) {
	panic("the driver is broken")
}

// check ends a helper process that can't go on.
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// readStream returns the parts of the stream on conn, as the standard library
// reads them.
func readStream(conn net.Conn) (*multipart.Reader, error) {
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	_, params, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return multipart.NewReader(response.Body, params["boundary"]), err
}

// timestamp returns the X-Timestamp of a part.
func timestamp(h textproto.MIMEHeader) time.Time {
	seconds, micros, _ := strings.Cut(h.Get("X-Timestamp"), ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	check(err)
	us, err := strconv.ParseInt(micros, 10, 64)
	check(err)
	return time.Unix(s, us*1000)
}

// freeAddress returns an address nobody listens on.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitServer waits until a server that was started listens.
func awaitServer(t *testing.T, address string) {
	t.Helper()
	eventually(t, "somebody listens on "+address, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// watch asks for path, without reading the answer. An address with https:// before it means TLS.
func watch(address, path string) (net.Conn, error) {
	connect := func() (net.Conn, error) { return net.Dial("tcp", address) }
	if at, ok := strings.CutPrefix(address, "https://"); ok {
		connect = func() (net.Conn, error) { return tls.Dial("tcp", at, trustAll) }
	}
	conn, err := connect()
	for range 50 {
		if err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond) // the server may be about to start
		conn, err = connect()
	}
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path)
	return conn, err
}

// discard reads all that comes. On Linux helper_linux_test.go has a cheaper one.
var discard = func(conn net.Conn) (int64, error) {
	return io.Copy(io.Discard, conn)
}

// testJPEG returns a JPEG of about n bytes, which differs with seed: one of the
// emulated pictures with a comment (FF FE) behind SOI.
func testJPEG(n int, seed byte) []byte {
	comment := n - len(picture1)
	if comment < 4 || comment > 60000 {
		panic(fmt.Sprintf("a test JPEG can't have %d bytes", n))
	}
	b := append([]byte{}, picture1[:2]...)
	b = append(b, 0xff, 0xfe, byte((comment-2)>>8), byte(comment-2))
	b = append(b, bytes.Repeat([]byte{seed}, comment-4)...)
	return append(b, picture1[2:]...)
}

// sent returns a JPEG as clients get it.
func sent(jpeg []byte) []byte {
	f := newStream(1, thisHost.sockets).getFrame()
	f.layOut(append(f.jpegBuffer(), jpeg...), time.Now(), 1)
	return f.jpeg
}

// publishJPEG publishes a picture as the capture loop does.
func publishJPEG(s *stream, jpeg []byte) {
	f := s.getFrame()
	f.settled = true
	s.publish(f, append(f.jpegBuffer(), jpeg...), time.Now())
}

// eventually waits for something that other goroutines bring about.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for range 10_000 {
		if done() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("still not so after 10 s: %s", what)
}
