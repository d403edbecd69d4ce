package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// publishAt publishes a picture as captured at a certain time.
func publishAt(s *stream, jpeg []byte, good bool, at time.Time) {
	f := s.getFrame()
	f.settled = good
	s.publish(f, append(f.jpegBuffer(), jpeg...), at)
}

// dial sends a request over a connection of its own, which ends with the test.
func dial(t *testing.T, address, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(limit))
	io.WriteString(conn, request) // what the server says to it matters, and is read
	return conn
}

// ask makes a request and returns the answer, whose body may have no end.
func ask(t *testing.T, method, url string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// text returns the body of an answer.
func text(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// partsOf returns the parts of a stream, as the standard library reads them.
func partsOf(t *testing.T, response *http.Response) *multipart.Reader {
	t.Helper()
	kind, params, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode != 200 || kind != "multipart/x-mixed-replace" || err != nil {
		t.Fatalf("got %s, %v (%v), want the stream", response.Status, response.Header, err)
	}
	return multipart.NewReader(response.Body, params["boundary"])
}

// nextPart reads a part, and checks that it is as long as it says.
func nextPart(t *testing.T, parts *multipart.Reader) (number int, jpeg []byte) {
	t.Helper()
	part, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	jpeg, err = io.ReadAll(part)
	if err != nil {
		t.Fatal(err)
	}
	if got := part.Header.Get("Content-Length"); got != strconv.Itoa(len(jpeg)) {
		t.Errorf("got Content-Length %s of a part of %d bytes", got, len(jpeg))
	}
	number, err = strconv.Atoi(part.Header.Get("X-Frame"))
	if err != nil {
		t.Fatal(err)
	}
	return number, jpeg
}

// TestWire has every byte of the stream as browsers and other programs get it.
func TestWire(t *testing.T) {
	const (
		head = "HTTP/1.1 200 OK\r\n" +
			"Content-Type: %s\r\n" +
			"Cache-Control: no-store\r\n" +
			"X-Accel-Buffering: no\r\n" +
			"Connection: close\r\n" +
			"\r\n" +
			"--frame\r\n"
		part = "Content-Type: image/jpeg\r\n" +
			"Content-Length: %d\r\n" +
			"X-Timestamp: %s\r\n" +
			"X-Frame: %s\r\n" +
			"\r\n" +
			"%s\r\n" +
			"--frame\r\n"
		multipart = "multipart/x-mixed-replace; boundary=frame"
	)
	tests := []struct{ name, request, kind string }{
		{"HTTP/1.1", "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n", multipart},
		{"HTTP/1.0", "GET /stream HTTP/1.0\r\n\r\n", multipart},
		{"raw", "GET /stream?raw=1 HTTP/1.1\r\nHost: test\r\n\r\n", "application/octet-stream"},
		{"raw=0", "GET /stream?raw=0 HTTP/1.1\r\nHost: test\r\n\r\n", multipart},
	}
	first := time.Unix(1_700_000_000, 123_456_789)
	second := time.Unix(1_700_000_001, 42_000)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, address := serveStream(t, 1)
			conn := dial(t, address, tt.request)
			expect := func(want string) {
				t.Helper()
				got := make([]byte, len(want))
				n, err := io.ReadFull(conn, got)
				if string(got[:n]) != want {
					t.Fatalf("got  %q, error %v\nwant %q", got[:n], err, want)
				}
			}
			// Each thing is there before the next happens.
			expect(fmt.Sprintf(head, tt.kind))
			publishAt(s, []byte("\xff\xd8 one \xff\xd9"), true, first)
			expect(fmt.Sprintf(part, 9, "1700000000.123456", " 1", "\xff\xd8 one \xff\xd9"))
			publishAt(s, []byte("\xff\xd8 more \xff\xd9"), true, second)
			// The header and the part end at a multiple of 4 bytes: with spaces and fill bytes.
			expect(fmt.Sprintf(part, 13, "1700000001.000042", "2", "\xff\xd8 more \xff\xff\xff\xff\xd9"))
		})
	}
}

func TestParts(t *testing.T) {
	s, address := serveStream(t, 1)
	pictures := [][]byte{picture1, testJPEG(50_000, 1), picture2, testJPEG(80_000, 2), lostPicture}
	publishJPEG(s, pictures[0])
	parts := partsOf(t, ask(t, "GET", "http://"+address+"/stream"))
	for i, want := range pictures {
		number, got := nextPart(t, parts)
		if number != i+1 || !bytes.Equal(got, sent(want)) {
			t.Errorf("got frame %d of %d bytes, want %d of %d", number, len(got), i+1, len(want))
		}
		if i+1 < len(pictures) {
			publishJPEG(s, pictures[i+1])
		}
	}
}

func TestRoutes(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100")
	eventually(t, "the camera was looked for", func() bool { return stateOf(t, p)["mode"] == modeIdle })
	tests := []struct{ kind, paths string }{
		{"text/html; charset=utf-8", "/ /?cacheBust=1 /?action= /?action"},
		{"multipart/x-mixed-replace; boundary=frame", "/stream /stream.mjpg /video_feed /stream?cacheBust=1 /stream?fps=50 " +
			"/?action=stream /?action=stream_0 /?action=stream&1700000 /?action=stream?1700 /?action=stream;1700 " +
			"/stream/ /stream.mjpg/ /video_feed/ /stream/?fps=50"},
		{"application/octet-stream", "/stream?raw=1 /?action=stream&raw=1 /?action=stream;raw=1 /stream/?raw=1"},
		{"image/jpeg", "/snapshot /snapshot.jpg /snapshot?cacheBust=1 " +
			"/?action=snapshot /?action=snapshot_0 /?action=snapshot&1700000 /?action=snapshot?1700 /?action=snapshot;1700 " +
			"/snapshot/ /snapshot.jpg/"},
		{"application/json", "/state"},
		{"text/event-stream", "/events"},
		{"text/csv; charset=utf-8", "/frames.csv /frames.csv?n=3 /frames.csv?n="},
		{"text/plain; version=0.0.4; charset=utf-8", "/metrics"},
		{"text/plain; charset=utf-8", "/healthz"},
	}
	for _, method := range []string{"GET", "HEAD"} {
		for _, tt := range tests {
			for path := range strings.FieldsSeq(tt.paths) {
				t.Run(method+" "+path, func(t *testing.T) {
					response := ask(t, method, p.url+path)
					if got := response.Header.Get("Content-Type"); response.StatusCode != 200 || got != tt.kind {
						t.Errorf("got %s, %s, want %s", response.Status, got, tt.kind)
					}
					if tt.kind == "image/jpeg" && method == "GET" && !isPicture(text(t, response)) {
						t.Error("it is none of the pictures")
					}
				})
			}
		}
	}
	if got := stateOf(t, p)["clients_total"]; got != 18.0 {
		t.Errorf("got %v clients of the stream, want 18: HEAD is none", got)
	}
}

func TestPage(t *testing.T) {
	_, address := serveStream(t, 1)
	response := ask(t, "GET", "http://"+address+"/")
	for key, want := range map[string]string{
		"Content-Type":   "text/html; charset=utf-8",
		"Content-Length": strconv.Itoa(len(page)),
		"Cache-Control":  "no-cache",

		"Content-Security-Policy": pagePolicy(),
	} {
		if got := response.Header.Get(key); got != want {
			t.Errorf("got %s: %s, want %s", key, got, want)
		}
	}
	body := text(t, response)
	if body != string(page) {
		t.Errorf("got %d bytes, want those of static/index.html", len(body))
	}
	if len(body) >= 24_000 {
		t.Errorf("the page has %d bytes, want less than 24 KB", len(body))
	}
	// It has to work under any path of a proxy, and without the internet.
	absolute := regexp.MustCompile("(?i)(src|href|action|fetch|url|open|EventSource)\\s*[=(]\\s*[\"'`]?\\s*(/|\\w+://).*")
	if got := absolute.FindString(body); got != "" {
		t.Errorf("the page refers to %s: want relative addresses only", got)
	}
}

// TestErrors has one plain sentence for each thing that can be wrong.
func TestErrors(t *testing.T) {
	tests := []struct {
		requests string // of the same kind, a method and paths
		code     int
		message  string // after the path's last "?" or "&", if it has one
	}{
		{"GET /stream?fps=0 /stream?fps=-1 /stream?fps=121 /stream?fps=abc /stream?fps=NaN /stream?fps=Inf " +
			"/stream?fps=1e999 /video_feed?fps=0 /?action=stream&fps=0", 400, ": must be a number above 0 and up to 120\n"},
		{"GET /snapshot?max_age=-5 /snapshot?max_age=-1s /snapshot?max_age=soon /snapshot?max_age=1.5 " +
			"/snapshot?max_age=99999999999999999 /?action=snapshot&max_age=-1s",
			400, ": must be a duration like 500ms or 2s, or milliseconds\n"},
		{"GET /frames.csv?n=0 /frames.csv?n=-1 /frames.csv?n=1.5 /frames.csv?n=many /frames.csv?n=99999999999999999999",
			400, ": must be a whole number above 0\n"},
		{"GET /nonsense /stream/nonsense /snapshot/1.jpg /static/index.html", 404, "404 page not found\n"},
		{"GET /?action=nonsense /?action=take /?action=Stream", 404, ": must be stream or snapshot\n"},
		{"GET /?id=1&action=command /?action=command_ng", 404, ": there are no commands here: POST to /settings what is to be set\n"},
		{"POST / /stream /stream/ /snapshot /state /events /frames.csv /metrics /healthz", 405, "Method Not Allowed\n"},
		{"OPTIONS /nonsense /stream/nonsense", 404, "404 page not found\n"},
	}
	s, address := serveStream(t, 1)
	for _, tt := range tests {
		paths := strings.Fields(tt.requests)
		for _, path := range paths[1:] {
			t.Run(paths[0]+" "+path, func(t *testing.T) {
				response := ask(t, paths[0], "http://"+address+path)
				want := tt.message
				if i := strings.LastIndexAny(path, "?&"); i >= 0 {
					want = path[i+1:] + want
				}
				if got := text(t, response); response.StatusCode != tt.code || got != want {
					t.Errorf("got  %d %q\nwant %d %q", response.StatusCode, got, tt.code, want)
				}
				if got := response.Header.Get("Allow"); tt.code == 405 && got != "GET, HEAD, OPTIONS" {
					t.Errorf("got Allow: %s, want GET, HEAD, OPTIONS", got)
				}
			})
		}
	}
	if got := s.state(); got.Viewers != 0 || got.Clients != 0 {
		t.Errorf("got %d viewers and %d clients, want none", got.Viewers, got.Clients)
	}
}

// OPTIONS tells what can be done, and lets no other page do it.
func TestOptions(t *testing.T) {
	s, address := serveStream(t, 1)
	for path, want := range map[string]string{
		"/": "GET, HEAD, OPTIONS", "/stream": "GET, HEAD, OPTIONS", "/stream/": "GET, HEAD, OPTIONS", "/?action=stream": "GET, HEAD, OPTIONS",
		"/snapshot": "GET, HEAD, OPTIONS", "/snapshot/": "GET, HEAD, OPTIONS", "/state": "GET, HEAD, OPTIONS", "/events": "GET, HEAD, OPTIONS",
		"/frames.csv": "GET, HEAD, OPTIONS", "/metrics": "GET, HEAD, OPTIONS", "/healthz": "GET, HEAD, OPTIONS", "/settings": "GET, HEAD, OPTIONS, POST",
	} {
		response := ask(t, "OPTIONS", "http://"+address+path)
		if got := response.Header.Get("Allow"); response.StatusCode != 204 || got != want || text(t, response) != "" {
			t.Errorf("%s: got %s, Allow: %s; want 204, Allow: %s", path, response.Status, got, want)
		}
		for name := range response.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: got %s, want no such header", path, name)
			}
		}
	}
	if got := s.state(); got.Clients != 0 {
		t.Errorf("%d clients came", got.Clients)
	}
}

func TestParseSpacing(t *testing.T) {
	for fps, want := range map[string]time.Duration{
		"":       0,
		"120":    8333333 * time.Nanosecond,
		"25":     40 * time.Millisecond,
		"0.5":    2 * time.Second,
		"0.05":   20 * time.Second,
		"0.005":  25 * time.Second, // or proxies give up
		"5e-324": 25 * time.Second,
	} {
		if got, err := parseSpacing(fps); got != want || err != nil {
			t.Errorf("fps=%s: got %v, error %v, want %v", fps, got, err, want)
		}
	}
}

func TestMaxViewers(t *testing.T) {
	s, address := serveStream(t, 2)
	go s.repeat(t.Context())
	const stream = "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n"
	first := dial(t, address, stream)
	dial(t, address, "GET /snapshot HTTP/1.1\r\nHost: test\r\n\r\n") // counts as one
	eventually(t, "two watch", func() bool { return s.state().Viewers == 2 })
	const want = "too many viewers: 2 are watching already (see -max-clients)\n"
	for _, path := range []string{"/stream", "/snapshot", "/?action=stream"} {
		response := ask(t, "GET", "http://"+address+path)
		if got := text(t, response); response.StatusCode != 503 || got != want || response.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %q, want 503 %q and when to try again", path, response.StatusCode, got, want)
		}
	}
	if response := ask(t, "GET", "http://"+address+"/state"); response.StatusCode != 200 {
		t.Errorf("/state: got %s, want it in a full house too", response.Status)
	}
	first.Close()
	eventually(t, "there is room again", func() bool {
		return ask(t, "GET", "http://"+address+"/stream").StatusCode == 200
	})
}

// stateOf returns what /state tells.
func stateOf(t *testing.T, p *program) map[string]any {
	t.Helper()
	response := ask(t, "GET", p.url+"/state")
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control: %s, want no-store", got)
	}
	var state map[string]any
	if err := json.NewDecoder(response.Body).Decode(&state); err != nil {
		t.Fatal(err)
	}
	return state
}

func TestState(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100")
	conn := dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	go io.Copy(io.Discard, conn)
	var state map[string]any
	clients := func() []any {
		state = stateOf(t, p)
		return state["clients"].([]any)
	}
	eventually(t, "the camera is live and the client there", func() bool { return len(clients()) == 1 && state["online"] == true })
	checkKeys(t, state, "online", "camera", "driver", "device", "format", "encoder", "width", "height", "fps_granted",
		"mode", "frames_damaged", "times_opened", "fps_measured", "frames_captured", "frames_repeated",
		"frames_sent", "bytes_sent", "clients_total", "viewers", "clients", "uptime_s", "time_s", "version")
	for key, want := range map[string]any{
		"camera": "emulated camera", "format": "JPEG", "width": 640.0, "height": 480.0, "fps_granted": 100.0,
		"mode": "live", "clients_total": 1.0, "viewers": 1.0,
	} {
		if state[key] != want {
			t.Errorf("got %s: %v, want %v", key, state[key], want)
		}
	}
	if ago := time.Since(time.UnixMicro(int64(1e6 * state["time_s"].(float64)))); ago < 0 || ago > limit {
		t.Errorf("got time_s: %v, which is %v ago", state["time_s"], ago)
	}
	client := state["clients"].([]any)[0].(map[string]any)
	checkKeys(t, client, "address", "fps", "frames_sent", "frames_skipped", "connected_s")
	if got, want := client["address"], conn.LocalAddr().String(); got != want {
		t.Errorf("got a client at %v, want %s", got, want)
	}
	conn.Close()
	eventually(t, "the client is gone", func() bool { return len(clients()) == 0 && state["viewers"] == 0.0 })
}

func checkKeys(t *testing.T, object map[string]any, keys ...string) {
	t.Helper()
	got := slices.Sorted(maps.Keys(object))
	if slices.Sort(keys); !slices.Equal(got, keys) {
		t.Errorf("got  %s\nwant %s", got, keys)
	}
}

func TestHealth(t *testing.T) {
	tests := []struct {
		mode, reason string
		code         int
		body         string
	}{
		{modeIdle, "", 200, "idle\n"},
		{modeLive, "", 200, "live\n"},
		{modeStarting, "", 503, "the camera is starting\n"},
		{modeLost, "/dev/video0: unplugged", 503, "/dev/video0: unplugged\n"},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			s := newStream(1, thisHost.sockets)
			k := &supervisor{stream: s}
			k.updateStatus(func(st *cameraStatus) { st.Mode, st.Reason = tt.mode, tt.reason })
			w := httptest.NewRecorder()
			newHandler(s, k).ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
			if w.Code != tt.code || w.Body.String() != tt.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tt.code, tt.body)
			}
		})
	}
}
