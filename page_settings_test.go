package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// testSettingsPanel has a server in front of porthole that has settings.
func testSettingsPanel(t *testing.T, b *browser) {
	const (
		before = `{"sizes": ["640x480", "320x240"], "size": "640x480", "rotate": 0, "flip": "", "rates": [30, 15], "fps": 30, "quality": 80, "quality_applies": true, "controls": [
			{"name": "brightness", "label": "Brightness", "type": "int", "min": 0, "max": 255, "step": 1, "default": 128, "value": 140, "inactive": false, "read_only": false},
			{"name": "backlight", "label": "Backlight", "type": "bool", "min": 0, "max": 1, "step": 1, "default": 0, "value": 0, "inactive": false, "read_only": false},
			{"name": "power_line", "label": "Power Line", "type": "menu", "min": 0, "max": 2, "step": 1, "default": 1, "value": 1, "inactive": true, "read_only": false,
			 "menu": [{"value": 0, "name": "Disabled"}, {"value": 1, "name": "50 Hz"}]}]}`
		wrong = "brightness=0: must be from 1 to 255\n"
	)
	after := strings.Replace(before, `"value": 140`, `"value": 128`, 1)
	posts := make(chan string, 100)
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	url := inFront(t, p, func(proxy http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", proxy)
		mux.HandleFunc("GET /settings", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, before) })
		mux.HandleFunc("POST /settings", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			posts <- string(body)
			if strings.Contains(string(body), `"brightness":0`) {
				http.Error(w, strings.TrimSpace(wrong), http.StatusBadRequest)
				return
			}
			io.WriteString(w, after)
		})
		return mux
	})
	b.open(t, url)
	b.await(t, "the button for the settings is there", "!the('settings').hidden && fields.length === 8")
	b.click(t, "settings")
	b.await(t, "the drawer is open and has the focus", "the('drawer').open && the('drawer').contains(document.activeElement) && the('settings').getAttribute('aria-expanded') === 'true'")
	var unnamed []string
	b.eval(t, &unnamed, `return [...document.querySelectorAll('input, select, button')]
		.filter(e => !(e.labels.length || e.ariaLabel || e.textContent)).map(e => e.outerHTML)`)
	if len(unnamed) > 0 {
		t.Errorf("these have no name for screen readers: %q", unnamed)
	}
	b.await(t, "the fields have the settings", `['size=640x480', 'rotate=0', 'flip=', 'fps=30', 'quality=80', 'brightness=140', 'power_line=1'].every(text => {
		const [name, value] = text.split('=')
		return the('set-' + name).value === value
	}) && !the('set-backlight').checked && the('set-power_line').disabled`)

	sends := func(script, want string) {
		t.Helper()
		b.eval(t, nil, script)
		checkJSON(t, await(t, "what is sent", posts), want)
	}
	const changed = "; input.dispatchEvent(new Event('input', { bubbles: true })); input.dispatchEvent(new Event('change', { bubbles: true }))"
	sends("const input = the('set-size'); input.value = '320x240'"+changed, `{"size": "320x240", "controls": {}}`)
	sends("const input = the('set-fps'); input.value = '15'"+changed, `{"fps": 15, "controls": {}}`)
	sends("const input = the('set-rotate'); input.value = 90"+changed, `{"rotate": 90, "controls": {}}`)
	sends("const input = the('set-flip'); input.value = 'h'"+changed, `{"flip": "h", "controls": {}}`)
	sends("const input = the('set-quality'); input.value = 70"+changed, `{"quality": 70, "controls": {}}`)
	sends("the('set-backlight').click()", `{"controls": {"backlight": 1}}`)
	b.await(t, "the answer is shown", "!sending && the('set-brightness').value === '128'")
	sends("const input = the('set-brightness'); input.value = 0"+changed, `{"controls": {"brightness": 0}}`)
	b.await(t, "what is wrong is said, and undone", "the('wrong').textContent === "+string(must(json.Marshal(wrong)))+" && the('set-brightness').value === '128'")
	sends("the('reset').click()", `{"reset": true, "controls": {}}`)
	b.await(t, "all is well again", "the('wrong').textContent === '' && !sending")

	b.press(t, "\ue00c") // Escape
	b.await(t, "the drawer is closed, the focus back", "!the('drawer').open && document.activeElement === the('settings') && the('settings').getAttribute('aria-expanded') === 'false'")
	b.press(t, "\ue007") // Enter
	b.await(t, "the keyboard opens it", "the('drawer').open")
	b.complaints(t) // the browser's own, of status 400
}

// testRate changes a setting of the camera, for all who watch.
func testRate(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "2")
	b.open(t, p.url+"/")
	b.await(t, "the button for the settings is there", "!the('settings').hidden")
	b.click(t, "settings")
	b.await(t, "the rate is there", "the('set-fps').value === '2'")
	b.eval(t, nil, "const input = the('set-fps'); input.value = '20'; input.dispatchEvent(new Event('change', { bubbles: true }))")
	b.await(t, "pictures come faster", "framesPerSecond() > 10")
	b.click(t, "reset")
	b.await(t, "it is as before", "the('set-fps').value === '2' || (loadSettings(), false)")
	checkQuiet(t, b)
}

func must(b []byte, err error) []byte {
	check(err)
	return b
}

// checkJSON compares two objects.
func checkJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := errors.Join(json.Unmarshal([]byte(got), &g), json.Unmarshal([]byte(want), &w)); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if fmt.Sprint(g) != fmt.Sprint(w) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// testNoFetch has a stream that fetch can't get: the browser plays it by itself.
func testNoFetch(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	url := inFront(t, p, func(proxy http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("raw") == "1" {
				panic(http.ErrAbortHandler)
			}
			proxy.ServeHTTP(w, r)
		})
	})
	b.open(t, url)
	b.await(t, "there is an <img>", "image && image.naturalWidth === 640 && document.body.dataset.mode === 'live'")
	checkSight(t, b, "stage")
	b.click(t, "pause")
	if b.closesImages {
		awaitViewers(t, p, 0)
	}
	checkSight(t, b, "stage")
	b.click(t, "pause")
	b.await(t, "there is an <img> again", "image && image.naturalWidth === 640")
	if b.closesImages {
		awaitViewers(t, p, 1)
	}
	b.complaints(t) // the browser's own, of requests that failed
}

// testOldBrowser has a page that the browser does not understand.
func testOldBrowser(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	url := inFront(t, p, func(proxy http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				proxy.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/html")
			w.Write(bytes.Replace(page, []byte("'use strict'"), []byte("'use strict' future syntax"), 1))
		})
	})
	b.open(t, url)
	checkSight(t, b, "")
	awaitViewers(t, p, 1)
	b.complaints(t) // the syntax error
}

// checkQuiet wants nothing on the browser's console.
func checkQuiet(t *testing.T, b *browser) {
	t.Helper()
	for _, line := range b.complaints(t) {
		t.Errorf("the browser's console says: %s", line)
	}
}
