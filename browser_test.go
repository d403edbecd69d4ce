package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"porthole/testdata/skip"
)

// A browser is a real one, without a window on any screen. Chromium is driven
// by WebDriver (W3C) through chromedriver, Firefox by the same commands through
// Marionette, which it has built in.
type browser struct {
	name      string
	downloads string // directory

	// send sends a command with its parameters and returns the answer's value.
	send func(c command, params any) (json.RawMessage, error)

	// script returns what to execute so that a function of the page's own scripts runs.
	script func(function string) string

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
}

// lookFor returns the path of the first of these programs that is installed.
func lookFor(t *testing.T, programs ...string) string {
	t.Helper()
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	skip.Test(t, programs[0]+" is not installed", "install it: chromium and chromium-driver, firefox-esr on Debian")
	return ""
}

func startChromium(t *testing.T, scripts bool) *browser {
	driver := lookFor(t, "chromedriver")
	program := lookFor(t, "chromium", "chromium-browser", "google-chrome")
	b := &browser{name: "Chromium", downloads: t.TempDir()}

	cmd := exec.Command(driver, "--port=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	startProcess(t, cmd)
	port := awaitLine(t, out, "started successfully on port ")
	base := "http://127.0.0.1:" + strings.TrimSuffix(port, ".") + "/session"

	preferences := map[string]any{"download.default_directory": b.downloads}
	if !scripts {
		preferences["profile.managed_default_content_settings.javascript"] = 2
	}
	answer, err := overHTTP("POST", base, map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName":       "chrome",
		"goog:loggingPrefs": map[string]string{"browser": "ALL"},
		"goog:chromeOptions": map[string]any{
			"binary": program,
			"prefs":  preferences,
			"args": []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--disable-sync",
				"--window-size=1000,700", "--user-data-dir=" + t.TempDir()},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var session struct{ SessionID string }
	if err := json.Unmarshal(answer, &session); err != nil {
		t.Fatal(err)
	}
	base += "/" + session.SessionID
	t.Cleanup(func() { overHTTP("DELETE", base, nil) }) // Chromium ends

	b.script = func(function string) string { return "return " + function + ".apply(null, arguments)" }
	b.send = func(c command, params any) (json.RawMessage, error) { return overHTTP(c.method, base+c.path, params) }
	b.complaints = func(t *testing.T) (all []string) {
		answer, err := overHTTP("POST", base+"/se/log", map[string]string{"type": "browser"})
		if err != nil {
			t.Fatal(err)
		}
		var entries []struct{ Level, Message string }
		if err := json.Unmarshal(answer, &entries); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Level == "SEVERE" || e.Level == "WARNING" {
				all = append(all, e.Message)
			}
		}
		return all
	}
	return b
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
	response, err := http.DefaultClient.Do(request)
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

func startFirefox(t *testing.T, scripts bool) *browser {
	program := lookFor(t, "firefox-esr", "firefox")
	b := &browser{name: "Firefox", downloads: t.TempDir()}
	profile := t.TempDir()
	preferences := fmt.Sprintf(`
		user_pref("marionette.port", 0); // any
		user_pref("javascript.enabled", %t);
		user_pref("browser.dom.window.dump.enabled", true); // errors go to stdout
		user_pref("browser.download.folderList", 2);
		user_pref("browser.download.dir", %q);
		user_pref("browser.download.alwaysOpenPanel", false); // it takes the keyboard
		user_pref("app.normandy.enabled", false);
		user_pref("services.settings.server", "data:,");
		user_pref("datareporting.policy.dataSubmissionEnabled", false);
		`, scripts, b.downloads)
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(preferences), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(program, "--headless", "--marionette", "--no-remote", "--width=1000", "--height=700", "--profile", profile)
	cmd.Env = append(os.Environ(), "MOZ_CRASHREPORTER_DISABLE=1")
	var mu sync.Mutex
	var errorLines []string
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			// Firefox also complains about itself, from chrome:// and resource://.
			if strings.HasPrefix(lines.Text(), "JavaScript error: http") {
				mu.Lock()
				errorLines = append(errorLines, lines.Text())
				mu.Unlock()
			}
		}
	}()
	startProcess(t, cmd)
	b.script = asDebugger
	b.complaints = func(*testing.T) []string {
		mu.Lock()
		defer mu.Unlock()
		all := errorLines
		errorLines = nil
		return all
	}

	var port []byte
	eventually(t, "Firefox listens", func() (there bool) {
		port, _ = os.ReadFile(filepath.Join(profile, "MarionetteActivePort"))
		return len(port) > 0
	})
	conn, err := net.Dial("tcp", "127.0.0.1:"+string(port))
	if err != nil {
		t.Fatal(err)
	}
	m := &marionette{conn: conn, in: bufio.NewReader(conn)}
	if _, err := m.receive(); err != nil { // it introduces itself
		t.Fatal(err)
	}
	b.send = m.send
	if _, err := m.send(command{name: "WebDriver:NewSession"}, map[string]any{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.send(command{name: "Marionette:Quit"}, map[string]any{"flags": []string{"eForceQuit"}})
		conn.Close()
		cmd.Process.Wait() // its profile is removed next
		w.Close()
	})
	return b
}

// asDebugger returns a script with which Firefox runs a function as its debugger does. Scripts of
// Marionette do not have the page's variables.
func asDebugger(function string) string {
	quoted, _ := json.Marshal(function) // never fails
	return `
		const { addDebuggerToGlobal } = ChromeUtils.importESModule('resource://gre/modules/jsdebugger.sys.mjs', { global: 'contextual' })
		addDebuggerToGlobal(globalThis)
		const page = new Debugger().addDebuggee(window)
		return page.executeInGlobal(` + string(quoted) + `).return.unsafeDereference().apply(null, arguments)`
}

// marionette is a connection to Firefox. Messages are JSON after their length
// in decimal and a colon: [0, id, name, params] there, [1, id, error, result]
// back.
type marionette struct {
	conn net.Conn
	in   *bufio.Reader
	id   int
}

func (m *marionette) send(c command, params any) (json.RawMessage, error) {
	if params == nil {
		params = struct{}{}
	}
	m.id++
	message, err := json.Marshal([]any{0, m.id, c.name, params})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(message), message); err != nil {
		return nil, err
	}
	answer, err := m.receive()
	if err != nil {
		return nil, err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(answer, &parts); err != nil || len(parts) != 4 {
		return nil, fmt.Errorf("got %.300s, want an answer (%v)", answer, err)
	}
	if string(parts[2]) != "null" {
		return nil, fmt.Errorf("%s: %.300s", c.name, parts[2])
	}
	var result struct{ Value json.RawMessage }
	if json.Unmarshal(parts[3], &result) == nil && result.Value != nil {
		return result.Value, nil
	}
	return parts[3], nil
}

func (m *marionette) receive() ([]byte, error) {
	m.conn.SetDeadline(time.Now().Add(2 * limit))
	var length int
	if _, err := fmt.Fscanf(m.in, "%d:", &length); err != nil {
		return nil, err
	}
	if length < 0 || length > 1<<28 {
		return nil, errors.New("a message can't be as long as that")
	}
	message := make([]byte, length)
	_, err := io.ReadFull(m.in, message)
	return message, err
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
