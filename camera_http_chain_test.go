package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"image/jpeg"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"porthole/mjpeg/mjpegtest"
	"porthole/testdata/skip"
)

// A camera that can serve one viewer serves 200 through porthole.
func TestHTTPChain(t *testing.T) {
	const viewers, pictures = 200, 60
	address, lines := startESP32(t)
	p := launch(t, "-listen", "127.0.0.1:0", "-camera", "http://"+address+"/stream", "-max-clients", strconv.Itoa(viewers), "-idle", "1s")
	p.logged(t, "camera: "+address+": JPEG") // without a size: it was not asked yet
	select {
	case line := <-lines:
		t.Errorf("nobody watches, but the camera says %q", line)
	default:
	}
	crowd := startViewers(t, p.address, viewers-1)
	await(t, "the first viewer", lines)
	p.logged(t, "camera: "+address+": 640x480 JPEG")
	conn, err := watch(p.address, "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "all watch", func() bool { return getState(t, p.url).Viewers == viewers })
	measureChain(t, conn, pictures)
	if got := getState(t, p.url); got.Width != 640 || got.Height != 480 || got.Format != "JPEG" || got.Name != address || got.Viewers != viewers {
		t.Errorf("/state tells %+v", got.cameraStatus)
	}
	if len(lines) > 0 {
		t.Errorf("the camera had another viewer: %s", <-lines)
	}
	conn.Close()
	crowd.Process.Kill()
	if line := await(t, "the end of the connection", lines); !strings.HasPrefix(line, "gone") {
		t.Errorf("the camera says %q", line)
	}
}

// startESP32 starts the stand-in for an ESP32-CAM, and returns its address and what it prints.
func startESP32(t *testing.T) (address string, lines <-chan string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		skip.Test(t, "there is no go command to build the stand-in for an ESP32-CAM", "install Go")
	}
	program := filepath.Join(t.TempDir(), "esp32cam.exe")
	build := exec.Command("go", "build", "-o", program, "./testdata/esp32cam")
	build.Env = append(build.Environ(), "GOARCH=", "GOARM=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	address = freeAddress(t)
	cmd := exec.Command(program, "-listen", address, "static/1.jpg", "static/2.jpg", "static/3.jpg")
	r, w := io.Pipe()
	cmd.Stdout = w
	startProcess(t, cmd)
	awaitServer(t, address)
	return address, scanLines(r)
}

// measureChain reads pictures and logs how many there were a second, and how old they were since
// they were made.
func measureChain(t *testing.T, conn net.Conn, count int) {
	t.Helper()
	parts, err := readStream(conn)
	if err != nil {
		t.Fatal(err)
	}
	var ages []time.Duration
	var first time.Time
	last := ""
	for len(ages) < count {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		picture, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(picture, sent(lostPicture)) || part.Header.Get("X-Frame") == last {
			continue
		}
		last = part.Header.Get("X-Frame")
		made, err := strconv.ParseInt(string(picture[6:6+picture[5]-2]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if ages = append(ages, time.Since(time.UnixMicro(made))); len(ages) == 1 {
			first = time.Now()
		}
	}
	fps := float64(count-1) / time.Since(first).Seconds()
	slices.Sort(ages)
	t.Logf("%.1f pictures a second, %v old in the middle, %v at most of %d", fps, ages[count/2], ages[count-1], count)
}

// getState returns what /state tells.
func getState(t *testing.T, url string) (s state) {
	t.Helper()
	response, err := http.Get(url + "/state")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// Porthole's own stream, and its snapshots, are pictures for another porthole. The password is
// nowhere to be read.
func TestHTTPOfPorthole(t *testing.T) {
	first := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "20", "-auth", "anna:s3cret")
	for _, path := range []string{"/stream", "/snapshot"} {
		url := "http://anna:s3cret@" + first.address + path + "?key=s3cret"
		p := begin(t, "-listen", "127.0.0.1:0", "-camera", url, "-fps", "20")
		var told []string
		for _, path := range []string{"/snapshot?max_age=100ms", "/", "/state", "/settings", "/healthz"} {
			response, err := http.Get(p.url + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, string(body))
			response.Body.Close()
		}
		if !isPicture(told[0]) {
			t.Errorf("%s: the snapshot is %.80q", path, told[0])
		}
		p.stop()
		for line := range p.log {
			told = append(told, line)
		}
		for _, text := range told {
			if strings.Contains(text, "s3cret") || strings.Contains(text, "anna") {
				t.Errorf("the password is in %s", text)
			}
		}
	}
}

// The camera is shown again when its server comes back.
func TestHTTPReconnects(t *testing.T) {
	var broken atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=x")
		for n := byte(0); !broken.Load(); n++ {
			picture := testJPEG(40_000, n)
			fmt.Fprintf(w, "--x\r\nContent-Type: image/jpeg\r\n\r\n%s\r\n", picture)
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}))
	t.Cleanup(s.Close)
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", s.URL, "-idle", "0")
	for range 2 {
		p.logged(t, "640x480 JPEG")
		broken.Store(true)
		p.logged(t, s.URL+": the stream ended")
		p.logged(t, s.URL+": 500: internal server error")
		broken.Store(false)
	}
	p.logged(t, "640x480 JPEG")
	if got := getState(t, p.url); got.Mode != modeLive || got.Opened < 3 {
		t.Errorf("/state tells %+v", got.cameraStatus)
	}
}

// When the pictures change their size, /state and /settings say so.
func TestHTTPOtherSize(t *testing.T) {
	pictures := make(chan []byte)
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", streamWriters[0].serve(t, pictures), "-idle", "0")
	pictures <- picture1
	p.logged(t, "640x480 JPEG")
	pictures <- mjpegtest.SmallJPEG(t)
	small, err := jpeg.DecodeConfig(bytes.NewReader(mjpegtest.SmallJPEG(t)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "/state has the new size", func() bool {
		s := getState(t, p.url)
		return s.Width == small.Width && s.Height == small.Height
	})
	response, err := http.Get(p.url + "/settings")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var s settingsState
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%dx%d", small.Width, small.Height); s.Size != want || fmt.Sprint(s.Sizes) != "["+want+"]" {
		t.Errorf("the size is %s of %v, want %s", s.Size, s.Sizes, want)
	}
}

// Over HTTPS, the certificate must be known.
func TestHTTPSCamera(t *testing.T) {
	if runtime.GOOS == "darwin" {
		skip.Test(t, "macOS does not look at SSL_CERT_FILE", "run it on another system")
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/jpeg")
		w.Write(picture1)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "cert.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-listen", "127.0.0.1:0", "-camera", s.URL + "/capture", "-idle", "0"}
	unknown := launch(t, args...)
	unknown.logged(t, s.URL+"/capture: its certificate is not one that this machine trusts")
	known := helper(t, "porthole", args...)
	known.Env = append(known.Env, "SSL_CERT_FILE="+file)
	launchCommand(t, known).logged(t, ": 640x480 JPEG at 1 fps")
}
