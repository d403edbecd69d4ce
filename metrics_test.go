package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porthole/testdata/skip"
)

// TestMetrics has every byte of the metrics of a stream and a camera in a certain state.
func TestMetrics(t *testing.T) {
	const want = `# HELP porthole_camera_info The camera that was opened last.
# TYPE porthole_camera_info gauge
porthole_camera_info{camera="my \"HD\" \\ cam\nera",driver="uvcvideo",device="/dev/video0",format="MJPG",encoder="camera",width="640",height="480"} 1
# HELP porthole_camera_mode 1 for the mode that the camera is in.
# TYPE porthole_camera_mode gauge
porthole_camera_mode{mode="idle"} 0
porthole_camera_mode{mode="starting"} 0
porthole_camera_mode{mode="live"} 1
porthole_camera_mode{mode="lost"} 0
# HELP porthole_camera_openings_total How often a camera was opened.
# TYPE porthole_camera_openings_total counter
porthole_camera_openings_total 3
# HELP porthole_frames_captured_total Pictures of the camera, once its exposure had settled.
# TYPE porthole_frames_captured_total counter
porthole_frames_captured_total 5
# HELP porthole_frames_damaged_total Damaged pictures of the camera, which were left out.
# TYPE porthole_frames_damaged_total counter
porthole_frames_damaged_total 7
# HELP porthole_frame_age_seconds Time since the newest picture was captured, NaN before the first.
# TYPE porthole_frame_age_seconds gauge
porthole_frame_age_seconds 1.5
# HELP porthole_frame_interval_seconds Time between two pictures in a row.
# TYPE porthole_frame_interval_seconds histogram
porthole_frame_interval_seconds_bucket{le="0.011"} 0
porthole_frame_interval_seconds_bucket{le="0.022"} 0
porthole_frame_interval_seconds_bucket{le="0.044"} 1
porthole_frame_interval_seconds_bucket{le="0.088"} 2
porthole_frame_interval_seconds_bucket{le="0.176"} 2
porthole_frame_interval_seconds_bucket{le="0.352"} 2
porthole_frame_interval_seconds_bucket{le="0.704"} 2
porthole_frame_interval_seconds_bucket{le="1.408"} 2
porthole_frame_interval_seconds_bucket{le="+Inf"} 3
porthole_frame_interval_seconds_sum 2.085
porthole_frame_interval_seconds_count 3
# HELP porthole_build_info The version of porthole.
# TYPE porthole_build_info gauge
porthole_build_info{version="VERSION"} 1
# HELP porthole_uptime_seconds Time since the start.
# TYPE porthole_uptime_seconds gauge
porthole_uptime_seconds 63.585
# HELP porthole_viewers Clients of the stream, readers of the table and those who wait for a snapshot.
# TYPE porthole_viewers gauge
porthole_viewers 2
# HELP porthole_clients_total Clients of the stream that came.
# TYPE porthole_clients_total counter
porthole_clients_total 11
# HELP porthole_frames_sent_total Frames sent to all clients, as of their last second.
# TYPE porthole_frames_sent_total counter
porthole_frames_sent_total 12000000
# HELP porthole_sent_bytes_total Bytes sent to all clients, as of their last second.
# TYPE porthole_sent_bytes_total counter
porthole_sent_bytes_total 340000000001
# HELP porthole_frames_repeated_total Frames published again because no new one came.
# TYPE porthole_frames_repeated_total counter
porthole_frames_repeated_total 13
# HELP porthole_requests_refused_total Requests with a wrong password, too many passwords, a strange host name, or of too many viewers.
# TYPE porthole_requests_refused_total counter
porthole_requests_refused_total{reason="password"} 14
porthole_requests_refused_total{reason="guesses"} 15
porthole_requests_refused_total{reason="host"} 16
porthole_requests_refused_total{reason="viewers"} 1
# HELP porthole_connections_refused_total Connections refused because all were busy.
# TYPE porthole_connections_refused_total counter
porthole_connections_refused_total 17
# HELP porthole_connections_evicted_total Connections without a request that made room for others.
# TYPE porthole_connections_evicted_total counter
porthole_connections_evicted_total 18
`
	synctest.Test(t, func(t *testing.T) {
		s := newStream(2, thisHost.sockets)
		k := newSupervisor(s, nil, settings{}, 0, nil)
		k.status = cameraStatus{Mode: modeLive, Damaged: 7, Opened: 3, cameraInfo: cameraInfo{
			Name: "my \"HD\" \\ cam\nera", Driver: "uvcvideo", Device: "/dev/video0", Format: "MJPG", Encoder: encoderCamera, Width: 640, Height: 480,
		}}
		if got := metricOf(t, s, k, "porthole_frame_age_seconds"); got != "NaN" {
			t.Errorf("before the first picture its age is %s, want NaN", got)
		}
		time.Sleep(time.Minute)
		for _, wait := range []time.Duration{0, 33 * time.Millisecond, 52 * time.Millisecond, 2 * time.Second} {
			time.Sleep(wait)
			publishJPEG(s, picture1)
		}
		publishAt(s, lostPicture, false, time.Now()) // neither it nor the interval after it counts
		publishJPEG(s, picture1)
		time.Sleep(1500 * time.Millisecond)
		for range 3 {
			s.addViewer() // the last is one too many
		}
		s.totals.clients, s.totals.sent, s.totals.bytes, s.totals.repeats = 11, 12_000_000, 340_000_000_001, 13
		s.refusals.passwords.Store(14)
		s.refusals.guesses.Store(15)
		s.refusals.hosts.Store(16)
		s.refusals.connections.Store(17)
		s.refusals.evictions.Store(18)
		want := strings.ReplaceAll(want, "VERSION", version())
		if got := scrape(t, s, k); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A bound belongs to its bucket, and the sum never falls.
func TestHistogram(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{-time.Second, firstBound, firstBound + 1} {
		h.count(d)
	}
	if want := (histogram{counts: [9]uint64{2, 1}, sum: 2*firstBound + 1}); h != want {
		t.Errorf("got %v, want %v", h, want)
	}
}

// scrape returns the metrics as they come over HTTP.
func scrape(t *testing.T, s *stream, k *supervisor) string {
	t.Helper()
	w := httptest.NewRecorder()
	newHandler(s, k).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if got := w.Header().Get("Cache-Control"); w.Code != 200 || got != "no-store" {
		t.Fatalf("got %d, Cache-Control: %s, want 200 and no-store", w.Code, got)
	}
	return w.Body.String()
}

// metricOf returns the value of a sample.
func metricOf(t *testing.T, s *stream, k *supervisor, sample string) string {
	t.Helper()
	for line := range strings.Lines(scrape(t, s, k)) {
		if value, ok := strings.CutPrefix(line, sample+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("there is no %s", sample)
	return ""
}

// Scrapes neither open a camera nor keep it open, and tell when it is lost.
func TestMetricsOfCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		mode := func(when, want string) {
			t.Helper()
			synctest.Wait()
			for _, mode := range []string{modeIdle, modeStarting, modeLive, modeLost} {
				one := metricOf(t, k.stream, k, `porthole_camera_mode{mode="`+mode+`"}`)
				if (one == "1") != (mode == want) {
					t.Errorf("%s: mode %s is %s, want %s", when, mode, one, want)
				}
			}
		}
		opened := func() int { times, _ := c.history(); return len(times) }
		before := opened()
		for range 100 {
			time.Sleep(time.Second)
			mode("nobody watches", modeIdle)
		}
		if now := opened(); now != before {
			t.Errorf("scrapes opened the camera %d times", now-before)
		}
		k.stream.addViewer()
		time.Sleep(5 * time.Second)
		mode("somebody watches", modeLive)
		c.set("", nil, notFoundError("it is gone"))
		time.Sleep(5 * time.Second)
		mode("it was unplugged", modeLost)
		if age := metricOf(t, k.stream, k, "porthole_frame_age_seconds"); age < "4" || len(age) > 4 {
			t.Errorf("5 s after it was unplugged the newest picture is %s s old", age)
		}
		c.set("/dev/video0", nil, nil)
		time.Sleep(10 * time.Second)
		mode("it is back", modeLive)
		k.stream.removeViewer()
		for range 20 {
			time.Sleep(time.Second)
			scrape(t, k.stream, k)
		}
		mode("the viewer is gone", modeIdle)
	})
}

// Everyone who refuses something counts it.
func TestMetricsOfRefusals(t *testing.T) {
	refused := func(p *program, pair, reason string) string {
		t.Helper()
		body := text(t, askWith(t, "GET", p.url+"/metrics", pair))
		_, after, _ := strings.Cut(body, `porthole_requests_refused_total{reason="`+reason+`"} `)
		count, _, _ := strings.Cut(after, "\n")
		return count
	}
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-auth", "anna:hunter2", "-auth-view", "guest:look")
	askWith(t, "GET", p.url+"/metrics", "") // as browsers do first
	askWith(t, "GET", p.url+"/metrics", "anna:wrong")
	askWith(t, "GET", p.url+"/state", "anna:wrong")
	if got := refused(p, "guest:look", "password"); got != "2" {
		t.Errorf("got %s wrong passwords, want 2", got)
	}
	p = begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-max-clients", "1")
	askAs(t, p.address, "GET /state", "cam.example.com:"+strings.TrimPrefix(p.address, "127.0.0.1:"))
	if got := refused(p, "", "host"); got != "1" {
		t.Errorf("got %s strange hosts, want 1", got)
	}
}

// A password that is refused unseen is no wrong one.
func TestMetricsOfGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused refusals
		owner := "anna:hunter2"
		a := newAccess(accessOptions{auth: &owner}, "", &refused, log.New(io.Discard, "", 0))
		h := a.guard(http.NotFoundHandler())
		for range freeGuesses + maxGuessQueue + 3 {
			r := httptest.NewRequest("GET", "/metrics", nil)
			r.SetBasicAuth("anna", "wrong")
			go h.ServeHTTP(httptest.NewRecorder(), r)
		}
		time.Sleep(time.Minute)
		if wrong, unseen := refused.passwords.Load(), refused.guesses.Load(); wrong != freeGuesses+maxGuessQueue || unseen != 3 {
			t.Errorf("counted %d wrong passwords and %d that were refused unseen, want %d and 3", wrong, unseen, freeGuesses+maxGuessQueue)
		}
	})
}

// Prometheus' own program finds nothing wrong with the metrics of a camera that is on.
func TestMetricsPromtool(t *testing.T) {
	needsPromtool(t)
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100")
	eventually(t, "there are pictures", func() bool {
		ask(t, "GET", p.url+"/snapshot")
		return stateOf(t, p)["frames_captured"].(float64) > 2
	})
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text(t, ask(t, "GET", p.url+"/metrics")))
	if said, err := check.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, said)
	}
}

// Prometheus takes its configuration and the rules as they are in the documentation.
func TestMetricsDocumentation(t *testing.T) {
	needsPromtool(t)
	doc, err := os.ReadFile("docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := regexp.MustCompile("(?s)\n```yaml\n# (\\S+)\n(.*?)```\n").FindAllSubmatch(doc, -1)
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(dir, string(file[1])), file[2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said, err := exec.Command("promtool", "check", "config", filepath.Join(dir, "prometheus.yml")).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "2 rules found") {
		t.Errorf("promtool check config: %v\n%s", err, said)
	}
	text := regexp.MustCompile(`_(bucket|count)\b`).ReplaceAllString(string(doc), "")
	for _, name := range regexp.MustCompile(`porthole_\w+`).FindAllString(text, -1) {
		if !strings.Contains(cameraMetrics+streamMetrics+refusalMetrics, fmt.Sprintf("# TYPE %s ", name)) {
			t.Errorf("there is no metric %s", name)
		}
	}
}

func needsPromtool(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		skip.Test(t, "promtool is not installed", "install it: prometheus on Debian")
	}
}
