package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func startFirefox(t *testing.T, scripts bool) *browser {
	program := lookFor(t, "firefox-esr", "firefox")
	b := &browser{name: "Firefox", downloads: t.TempDir(), closesImages: true}
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
	b.script, b.hide = asDebugger, b.behindTab
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
	if _, err := m.send(command{name: "WebDriver:NewSession"}, map[string]any{"acceptInsecureCerts": true}); err != nil {
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
