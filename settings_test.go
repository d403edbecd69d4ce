package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// adjustableCamera is a fakeCamera with something to choose.
type adjustableCamera struct {
	*fakeCamera
	asked  []settings // at each opening
	values map[string]int64
	gain   error // that setting it has
}

func (c *adjustableCamera) open(device string, want settings) (camera, error) {
	c.fakeCamera.mu.Lock()
	c.asked = append(c.asked, want)
	c.fakeCamera.mu.Unlock()
	_, err := c.fakeCamera.open(device, want)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *adjustableCamera) Info() cameraInfo {
	info := c.fakeCamera.Info()
	c.fakeCamera.mu.Lock()
	defer c.fakeCamera.mu.Unlock()
	want := c.asked[len(c.asked)-1]
	info.Width, info.Height, info.FPS = want.width, want.height, 10
	return info
}

func (c *adjustableCamera) choices() choices {
	c.fakeCamera.mu.Lock()
	defer c.fakeCamera.mu.Unlock()
	return choices{
		Sizes: []string{"640x480", "320x240"}, Rates: []float64{10, 5}, Encodes: true,
		Controls: []controlState{
			{Name: "brightness", Label: "Brightness", Type: "int", Max: 255, Step: 1, Default: new(int64(128)), Value: c.values["brightness"]},
			{Name: "gain", Label: "Gain", Type: "int", Max: 9, Step: 1, Default: new(int64(1)), Value: c.values["gain"]},
		},
		check: c.check,
	}
}

func (c *adjustableCamera) check(set []controlSetting) error {
	for _, s := range set {
		if n, err := strconv.Atoi(s.value); s.value != "default" && (err != nil || n > 255) || s.name != "brightness" && s.name != "gain" {
			return fmt.Errorf("%v: must be from 0 to 255", s)
		}
	}
	return nil
}

func (c *adjustableCamera) setControls(set []controlSetting) error {
	c.fakeCamera.mu.Lock()
	defer c.fakeCamera.mu.Unlock()
	for _, s := range set {
		if s.name == "gain" && c.gain != nil {
			return c.gain
		}
	}
	for _, s := range set {
		n, _ := strconv.ParseInt(s.value, 10, 64)
		if s.value == "default" {
			n = map[string]int64{"brightness": 128, "gain": 1}[s.name]
		}
		c.values[s.name] = n
	}
	return nil
}

// startAdjustable runs a supervisor of a knobCamera.
func startAdjustable(t *testing.T) (k *supervisor, c *adjustableCamera, send func(body string) string) {
	c = &adjustableCamera{values: map[string]int64{"brightness": 128, "gain": 1}}
	c.fakeCamera = &fakeCamera{begin: time.Now()}
	d := c.fakeCamera.driver()
	d.open = c.open
	k, _ = supervise(t, "auto", time.Second, d)
	c.set("/dev/video0", nil, nil)
	time.Sleep(2 * devicePollInterval)
	return k, c, sender(k)
}

// sender returns a function that sends a change, in JSON or as a form, and returns the
// answer.
func sender(k *supervisor) func(body string) string {
	handler := newHandler(k.stream, k)
	return func(body string) string {
		r := httptest.NewRequest("POST", "/settings", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
	}
}

// summary is what matters of the settings, in short.
func (sv *supervisor) summary() string {
	s := sv.settings()
	text := fmt.Sprintf("%s %v fps quality %d", s.Size, s.FPS, s.Quality)
	for _, d := range s.Controls {
		text += fmt.Sprintf(" %s=%d", d.Name, d.Value)
	}
	return text
}

// A change holds for the camera that is open and for each one that is opened
// later, and a viewer is not disconnected.
func TestSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, send := startAdjustable(t)
		v := newViewer(t, k.stream, 0)
		time.Sleep(time.Second)
		for _, test := range []struct{ body, want string }{
			{`{"controls":{"brightness":140}}`, "640x480 10 fps quality 80 brightness=140 gain=1"},
			{`{"size":"320x240","controls":{}}`, "320x240 10 fps quality 80 brightness=140 gain=1"},
			{`{"quality":75.0}`, "320x240 10 fps quality 75 brightness=140 gain=1"},
			{"quality=7.4e1", "320x240 10 fps quality 74 brightness=140 gain=1"},
			{"quality=70&gain=3", "320x240 10 fps quality 70 brightness=140 gain=3"},
			{`{"controls":{"brightness":"default"}}`, "320x240 10 fps quality 70 brightness=128 gain=3"},
			{`{"fps":5}`, "320x240 10 fps quality 70 brightness=128 gain=3"}, // this camera is always that fast
		} {
			if got := send(test.body); !strings.HasPrefix(got, "200 {") {
				t.Errorf("%s: got %s", test.body, got)
			}
			time.Sleep(time.Second)
			if got := k.summary(); got != test.want {
				t.Errorf("%s: got  %s\nwant %s", test.body, got, test.want)
			}
		}
		last := c.asked[len(c.asked)-1]
		if last.width != 320 || last.quality != 70 || last.fps != 5 || fmt.Sprint(last.set) != "[gain=3 brightness=default]" {
			t.Errorf("the camera was opened with %+v", last)
		}
		if got := send("reset=1"); !strings.HasPrefix(got, "200 {") {
			t.Errorf("reset: got %s", got)
		}
		time.Sleep(time.Second)
		if got, want := k.summary(), "640x480 10 fps quality 80 brightness=128 gain=1"; got != want {
			t.Errorf("reset: got  %s\nwant %s", got, want)
		}
		if err := v.ended(); err != nil {
			t.Errorf("the viewer was disconnected: %v", err)
		}
		if got, want := shown(v), "live"; got != want {
			t.Errorf("the viewer saw %s, want %s", got, want)
		}
	})
}

// A change with anything wrong in it changes nothing.
func TestSettingsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, send := startAdjustable(t)
		newViewer(t, k.stream, 0)
		time.Sleep(time.Second)
		c.gain = errors.New("the gain is stuck")
		before, opened := k.summary(), len(c.asked)
		for _, test := range []struct{ body, want string }{
			{`{"size":"800x600"}`, "size=800x600: must be one of 640x480, 320x240"},
			{`{"size":"wide"}`, "size=wide: must be a width and a height in pixels, like 640x480"},
			{`{"fps":11}`, "fps=11: must be one of [10 5]"},
			{`{"fps":0}`, "fps=0: must be above 0 and up to 240"},
			{`{"quality":101,"fps":5}`, "quality=101: must be from 1 to 100"},
			{`{"quality":70,"controls":{"brightness":256}}`, "brightness=256: must be from 0 to 255"},
			{`{"size":"320x240","controls":{"brightness":1,"gain":2}}`, "the gain is stuck"},
			{`{"controls":{"brightness":null}}`, "brightness: must be a number, a word, true or false"},
			{`{"contrast":1}`, `not settings in JSON: json: unknown field "contrast"`},
			{`{"fps":5`, "not settings in JSON: unexpected EOF"},
			{`{} {}`, "not settings in JSON: there is something behind them"},
			{`{"quality":70.5}`, "quality=70.5: must be a whole number"},
			{"quality=nan", "quality=NaN: must be from 1 to 100"},
			{"quality=high", "quality=high: must be a whole number"},
			{"fps=fast", "fps=fast: must be a number"},
			{"quality=70&contrast=1", "contrast=1: must be from 0 to 255"},
			{"%zz", `not a form: invalid URL escape "%zz"`},
		} {
			if got := send(test.body); got != "400 "+test.want {
				t.Errorf("%.60s: got  %s\nwant 400 %s", test.body, got, test.want)
			}
		}
		time.Sleep(time.Second)
		if got := k.summary(); got != before || len(c.asked) != opened {
			t.Errorf("got %s, opened %d times; want %s, %d times as before", got, len(c.asked), before, opened)
		}
	})
}

// A change while the camera is released holds for its next opening.
func TestSettingsWhileReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, send := startAdjustable(t)
		newViewer(t, k.stream, 0).conn.Close()
		time.Sleep(5 * time.Second)
		if got := k.currentStatus().Mode; got != modeIdle {
			t.Fatalf("the camera is %s, want %s", got, modeIdle)
		}
		for _, body := range []string{`{"controls":{"brightness":7}}`, "size=320x240"} {
			if got := send(body); !strings.HasPrefix(got, "200 {") {
				t.Errorf("%s: got %s", body, got)
			}
		}
		newViewer(t, k.stream, 0)
		time.Sleep(time.Second)
		last := c.asked[len(c.asked)-1]
		if last.width != 320 || fmt.Sprint(last.set) != "[brightness=7]" || !last.set[0].byViewer {
			t.Errorf("the camera was opened with %+v", last)
		}
	})
}

// Pages of others must not be able to change anything.
func TestSettingsOfOthers(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated")
	for _, test := range []struct {
		name, header, value string
		want                int
	}{
		{"our page", "Sec-Fetch-Site", "same-origin", http.StatusOK},
		{"a script", "User-Agent", "curl", http.StatusOK},
		{"another page", "Sec-Fetch-Site", "cross-site", http.StatusForbidden},
		{"another page, in an old browser", "Origin", "http://example.com", http.StatusForbidden},
	} {
		r, err := http.NewRequest("POST", "http://"+p.address+"/settings", strings.NewReader("fps=2"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(test.header, test.value)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != test.want {
			t.Errorf("%s: got %s: %s", test.name, response.Status, body)
		}
	}
	var s settingsState
	if err := json.Unmarshal([]byte(text(t, ask(t, "GET", "http://"+p.address+"/settings"))), &s); err != nil {
		t.Fatal(err)
	}
	if s.FPS != 2 || s.Sizes == nil || s.Rates == nil || s.Controls == nil {
		t.Errorf("got %+v", s)
	}
}

// What browsers and programs send, as it comes out of proxies. The page that it is
// for has the address http://board.local.
func TestWhoMayChangeSettings(t *testing.T) {
	const (
		form  = "application/x-www-form-urlencoded"
		json  = "application/json"
		nginx = "127.0.0.1:5000" // the Host that it sends, and no other
		ours  = "http://board.local"
		other = "http://example.com"
	)
	tests := []struct {
		name, host, origin, kind string
		more                     string // one more header
		want                     bool
	}{
		{"our page", "board.local", ours, json, "", true},
		{"our page, a form", "board.local", ours, form, "", true},
		{"our page on HTTPS", "board.local", "https://board.local", form, "Sec-Fetch-Site: same-origin", true},
		{"our page in nginx", nginx, ours, json, "", true},
		{"our page in nginx, HTTPS", nginx, "https://board.local", json, "Sec-Fetch-Site: same-origin", true},
		{"our page in Apache, a form", nginx, ours, form, "X-Forwarded-Host: board.local", true},
		{"our page in HAProxy", "board.local:8080", "http://board.local:8080", form, "X-Forwarded-For: 192.0.2.1", true},
		{"our page in Caddy", "board.local", ours, json, "X-Forwarded-Host: board.local", true},
		{"a program", "board.local", "", form, "", true},
		{"a program in nginx", nginx, "", json, "", true},

		{"another page, a form", "board.local", other, form, "", false},
		{"another page, JSON by fetch without CORS", "board.local", other, "text/plain;charset=UTF-8", "", false},
		{"another page, a form with a file", "board.local", other, "multipart/form-data; boundary=application/json", "", false},
		{"another page, no type", "board.local", other, "", "", false},
		{"another page, two types", "board.local", other, "text/plain, application/json", "", false},
		{"another page says so", "board.local", other, json, "Sec-Fetch-Site: cross-site", false},
		{"a neighbour says so", "board.local", "http://nas.local", json, "Sec-Fetch-Site: same-site", false},
		{"another port", "board.local:5000", "http://board.local:8000", form, "", false},
		{"a page in a file", "board.local", "null", form, "", false},
		{"a page in a file, no host", "", "null", form, "", false},
		{"another page in nginx", nginx, other, form, "", false},
		{"another page in nginx says so", nginx, other, json, "Sec-Fetch-Site: cross-site", false},
		{"our page in nginx, a form: nothing tells it from another", nginx, ours, form, "", false},
		{"another page in Caddy", "board.local", other, form, "X-Forwarded-Host: board.local", false},
		{"another page in Apache", nginx, other, form, "X-Forwarded-Host: board.local", false},
	}
	handler := newHandler(newStream(1, thisHost.sockets), &supervisor{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := "quality=1000" // wrong, so that it changes nothing
			if tt.kind == json {
				body = `{"quality":1000}`
			}
			r := httptest.NewRequest("POST", "/settings", strings.NewReader(body))
			r.Host = tt.host
			for _, header := range []string{"Content-Type: " + tt.kind, "Origin: " + tt.origin, tt.more} {
				if name, value, _ := strings.Cut(header, ": "); value != "" {
					r.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			want := http.StatusForbidden
			if tt.want {
				want = http.StatusBadRequest
			}
			if w.Code != want {
				t.Errorf("got %d %q, want %d", w.Code, w.Body, want)
			}
		})
	}
}

// JSON needs no other proof that it comes from our page, as long as a browser that
// asks whether another page may send it gets no permission.
func TestNoPreflightAllowed(t *testing.T) {
	r := httptest.NewRequest("OPTIONS", "/settings", nil)
	r.Header.Set("Origin", "http://example.com")
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Header.Set("Access-Control-Request-Headers", "content-type")
	w := httptest.NewRecorder()
	newHandler(newStream(1, thisHost.sockets), &supervisor{}).ServeHTTP(w, r)
	for name := range w.Header() {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("got %s: %s, want no such header", name, w.Header().Get(name))
		}
	}
}
