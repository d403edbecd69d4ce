package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"porthole/testdata/skip"
)

// A browser is a real one, without a window on any screen. Chromium is driven
// by WebDriver (W3C) through chromedriver, WebKit through WebKitWebDriver, Firefox
// by the same commands through Marionette, which it has built in.
type browser struct {
	name      string
	downloads string // directory

	// closesImages is whether it closes the connection of a stream in an <img> that is taken
	// from the page. WebKitGTK reads no more and leaves it open, for porthole to end.
	closesImages bool

	// send sends a command with its parameters and returns the answer's value.
	send func(c command, params any) (json.RawMessage, error)

	// script returns what to execute so that a function of the page's own scripts runs.
	script func(function string) string

	// hide hides the page, and returns what shows it again.
	hide func(t *testing.T) (show func())

	// complaints returns what is on the console for a person to worry about,
	// since it was asked last.
	complaints func(t *testing.T) []string
}

// A command has a method and a path in WebDriver, and a name in Marionette.
type command struct{ method, path, name string }

var (
	navigate     = command{"POST", "/url", "WebDriver:Navigate"}
	goBack       = command{"POST", "/back", "WebDriver:Back"}
	execute      = command{"POST", "/execute/sync", "WebDriver:ExecuteScript"}
	screenshot   = command{"GET", "/screenshot", "WebDriver:TakeScreenshot"}
	newWindow    = command{"POST", "/window/new", "WebDriver:NewWindow"}
	closeWindow  = command{"DELETE", "/window", "WebDriver:CloseWindow"}
	getWindow    = command{"GET", "/window", "WebDriver:GetWindowHandle"}
	switchWindow = command{"POST", "/window", "WebDriver:SwitchToWindow"}
	act          = command{"POST", "/actions", "WebDriver:PerformActions"}
)

// browsers start a browser for a test, with scripts or without.
var browsers = map[string]func(t *testing.T, scripts bool) *browser{
	"Chromium": startChromium,
	"Firefox":  startFirefox,
	"WebKit":   startWebKit,
}

// lookFor returns the path of the first of these programs that is installed.
func lookFor(t *testing.T, programs ...string) string {
	t.Helper()
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	skip.Test(t, programs[0]+" is not installed", "install it: chromium and chromium-driver, firefox-esr, webkit2gtk-driver and xvfb on Debian")
	return ""
}

// newSession has a driver start its browser until the test ends, and returns the session's URL.
func newSession(t *testing.T, base string, capabilities map[string]any) string {
	t.Helper()
	capabilities["acceptInsecureCerts"] = true
	answer, err := overHTTP("POST", base, map[string]any{"capabilities": map[string]any{"alwaysMatch": capabilities}})
	if err != nil {
		t.Fatal(err)
	}
	var session struct{ SessionID string }
	if err := json.Unmarshal(answer, &session); err != nil {
		t.Fatal(err)
	}
	base += "/" + session.SessionID
	t.Cleanup(func() { overHTTP("DELETE", base, nil) }) // the browser ends
	return base
}

// returnApplied returns a script of WebDriver that runs a function.
func returnApplied(function string) string {
	return "return " + function + ".apply(null, arguments)"
}

// overHTTP sends a WebDriver command.
func overHTTP(method, url string, params any) (json.RawMessage, error) {
	if params == nil {
		params = struct{}{}
	}
	body, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Timeout: 2 * limit}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.300s", response.Status, answer.Value)
	}
	return answer.Value, nil
}

// awaitLine returns what comes after text in the first line that has it.
func awaitLine(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	lines := scanLines(r)
	for {
		if _, after, ok := strings.Cut(await(t, "a line with "+text, lines), text); ok {
			go func() {
				for range lines {
				}
			}()
			return after
		}
	}
}

// do sends a command. The answer's value goes to what result points to.
func (b *browser) do(t *testing.T, c command, params, result any) {
	t.Helper()
	answer, err := b.send(c, params)
	if err != nil {
		t.Fatal(err)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer, result); err != nil {
		t.Fatalf("got %.300s: %v", answer, err)
	}
}

func (b *browser) open(t *testing.T, url string) {
	t.Helper()
	b.do(t, navigate, map[string]string{"url": url}, nil)
}

// eval runs a script in the page, which returns a value or a promise of one.
func (b *browser) eval(t *testing.T, result any, script string, args ...any) {
	t.Helper()
	if args == nil {
		args = []any{}
	}
	// The page's policy forbids eval, which debuggers do without.
	b.do(t, execute, map[string]any{"script": b.script("(function() {" + script + "})"), "args": args, "sandbox": "system"}, result)
}

// await waits until an expression is true in the page.
func (b *browser) await(t *testing.T, what, expression string) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var done bool
		if b.eval(t, &done, "return Boolean("+expression+")"); done {
			return
		}
	}
	var said string
	b.eval(t, &said, "return document.body.innerText")
	t.Fatalf("still not so after %v: %s. The page says: %q", limit, what, said)
}

// press presses a key, a character of WebDriver's table of keys.
func (b *browser) press(t *testing.T, key string) {
	t.Helper()
	b.do(t, act, map[string]any{"actions": []any{map[string]any{
		"type": "key", "id": "keyboard",
		"actions": []any{map[string]string{"type": "keyDown", "value": key}, map[string]string{"type": "keyUp", "value": key}},
	}}}, nil)
}

// click clicks on the element with an id, as a mouse does.
func (b *browser) click(t *testing.T, id string) {
	t.Helper()
	var at struct{ X, Y float64 }
	b.eval(t, &at, `
		const box = document.getElementById(arguments[0]).getBoundingClientRect()
		return { x: Math.round(box.x + box.width / 2), y: Math.round(box.y + box.height / 2) }`, id)
	b.do(t, act, map[string]any{"actions": []any{map[string]any{
		"type": "pointer", "id": "mouse",
		"actions": []any{
			map[string]any{"type": "pointerMove", "x": at.X, "y": at.Y},
			map[string]any{"type": "pointerDown", "button": 0},
			map[string]any{"type": "pointerUp", "button": 0},
		},
	}}}, nil)
}

// photograph returns what the window shows.
func (b *browser) photograph(t *testing.T) image.Image {
	t.Helper()
	var encoded string
	b.do(t, screenshot, nil, &encoded)
	picture, err := png.Decode(base64.NewDecoder(base64.StdEncoding, strings.NewReader(encoded)))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// behindTab hides the page behind another tab.
func (b *browser) behindTab(t *testing.T) (show func()) {
	var old string
	b.do(t, getWindow, nil, &old)
	var tab struct{ Handle string }
	b.do(t, newWindow, map[string]any{"type": "tab", "focus": true}, &tab)
	b.do(t, switchWindow, map[string]any{"handle": tab.Handle, "name": tab.Handle, "focus": true}, nil)
	return func() {
		b.do(t, closeWindow, nil, nil)
		b.do(t, switchWindow, map[string]any{"handle": old, "name": old, "focus": true}, nil)
	}
}
