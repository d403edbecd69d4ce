package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed static/index.html
var page []byte

const (
	maxFPS = 120 // of ?fps=, frames per second

	// maxSpacing is the longest time between frames, whatever ?fps= says. Proxies give up
	// when nothing comes: nginx after 60 s (proxy_read_timeout), and HAProxy, as Debian
	// configures it, after 50. With this, one frame may be missing.
	maxSpacing = 25 * time.Second
)

// server answers requests.
type server struct {
	stream     *stream
	supervisor *supervisor
}

func newHandler(s *stream, k *supervisor) http.Handler {
	v := &server{s, k}
	mux := http.NewServeMux()
	get := func(path string, serve http.HandlerFunc) {
		mux.HandleFunc("GET "+path, serve)
		mux.HandleFunc("OPTIONS "+path, allow("GET, HEAD, OPTIONS"))
	}
	get("/{$}", v.root)
	for _, path := range []string{"/stream", "/stream.mjpg", "/video_feed"} {
		get(path, v.serveStream)
		get(path+"/{$}", v.serveStream)
	}
	for _, path := range []string{"/snapshot", "/snapshot.jpg"} {
		get(path, v.serveSnapshot)
		get(path+"/{$}", v.serveSnapshot)
	}
	get("/state", v.serveState)
	get("/events", newEvents(v).serve)
	get("/frames.csv", v.serveFrames)
	get("/metrics", v.serveMetrics)
	get("/healthz", v.serveHealth)
	mux.HandleFunc("GET /settings", v.serveSettings)
	mux.HandleFunc("POST /settings", v.changeSettings)
	mux.HandleFunc("OPTIONS /settings", allow("GET, HEAD, OPTIONS, POST"))
	return s.panics.handler(http.AllowQuerySemicolons(mux))
}

// allow answers what methods there are. It does not let other pages use them: see origins.
func allow(methods string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", methods)
		w.WriteHeader(http.StatusNoContent)
	}
}

// root serves the page, and the same as mjpg-streamer there. Its clients append all kinds of
// things to the query: "?action=snapshot_0", "?action=stream?1700", "?action=stream;1700".
func (v *server) root(w http.ResponseWriter, r *http.Request) {
	switch action := r.URL.Query().Get("action"); {
	case strings.HasPrefix(action, "stream"):
		v.serveStream(w, r)
	case strings.HasPrefix(action, "snapshot"):
		v.serveSnapshot(w, r)
	case strings.HasPrefix(action, "command"):
		http.Error(w, fmt.Sprintf("action=%s: there are no commands here: POST to /settings what is to be set", action), http.StatusNotFound)
	case action != "":
		http.Error(w, fmt.Sprintf("action=%s: must be stream or snapshot", action), http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Security-Policy", pagePolicy())
		sendBody(w, page)
	}
}

// serveStream takes the connection from net/http and gives it to the stream. A client then
// costs two small goroutines and none of the server's buffers.
func (v *server) serveStream(w http.ResponseWriter, r *http.Request) {
	spacing, err := parseSpacing(r.URL.Query().Get("fps"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	raw := r.URL.Query().Get("raw") == "1"
	// With it, browsers may keep an <img> of another page from what is no image by its type.
	w.Header().Del("X-Content-Type-Options")
	if r.Method == http.MethodHead {
		for _, field := range streamHeader(raw) {
			w.Header().Set(field[0], field[1])
		}
		return
	}
	if !v.addViewer(w) {
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		v.stream.removeViewer()
		http.Error(w, "the stream needs HTTP/1: "+err.Error(), http.StatusHTTPVersionNotSupported)
		return
	}
	v.stream.addClient(conn, streamHead(raw, w.Header()), spacing)
}

// streamHeader is the header of the response that is the stream. Safari's fetch
// refuses multipart, so ?raw=1 gives the same bytes another name.
func streamHeader(raw bool) [][2]string {
	kind := "multipart/x-mixed-replace; boundary=frame"
	if raw {
		kind = "application/octet-stream"
	}
	return [][2]string{
		{"Content-Type", kind},
		{"Cache-Control", "no-store"},
		{"X-Accel-Buffering", "no"}, // or nginx collects frames before it passes them on
		{"Connection", "close"},
	}
}

// streamHead returns the bytes before the first part: the response's header, with more fields, and
// a boundary. The body has no length and no chunks. It ends with the connection.
func streamHead(raw bool, more http.Header) []byte {
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	for _, field := range streamHeader(raw) {
		head.WriteString(field[0] + ": " + field[1] + "\r\n")
	}
	more.Write(&head)
	head.WriteString(boundary)
	return head.Bytes()
}

// parseSpacing returns the least time between frames for ?fps=; 0 without it.
func parseSpacing(fps string) (time.Duration, error) {
	if fps == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(fps, 64)
	if err != nil || !(n > 0 && n <= maxFPS) {
		return 0, fmt.Errorf("fps=%s: must be a number above 0 and up to %d", fps, maxFPS)
	}
	return min(interval(n), maxSpacing), nil
}

// addViewer counts a viewer in, or tells it that there is no room.
func (v *server) addViewer(w http.ResponseWriter) bool {
	if v.stream.addViewer() {
		return true
	}
	unavailable(w, v.stream.errFull().Error())
	return false
}

// serveHealth is for watchdogs. All is well while frames come, and also while nobody watches
// and the camera is released.
func (v *server) serveHealth(w http.ResponseWriter, r *http.Request) {
	switch st := v.supervisor.currentStatus(); st.Mode {
	case modeLive, modeIdle:
		fmt.Fprintln(w, st.Mode)
	case modeLost:
		http.Error(w, st.Reason, http.StatusServiceUnavailable)
	default:
		http.Error(w, "the camera is starting", http.StatusServiceUnavailable)
	}
}

// state is what /state tells.
type state struct {
	Online bool `json:"online"` // frames come
	cameraStatus
	streamState
	Version string `json:"version"`
}

func (v *server) serveState(w http.ResponseWriter, r *http.Request) {
	sendJSON(w, v.state())
}

// state returns what /state tells.
func (v *server) state() state {
	camera := v.supervisor.currentStatus()
	return state{
		Online:       camera.Mode == modeLive,
		cameraStatus: camera,
		streamState:  v.stream.state(),
		Version:      version(),
	}
}

// sendJSON sends a value that JSON can have.
func sendJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	text, _ := json.MarshalIndent(value, "", "  ")
	sendBody(w, append(text, '\n'))
}
