package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// startWebKit starts MiniBrowser, which comes with WebKitGTK, on a screen of its own.
func startWebKit(t *testing.T, scripts bool) *browser {
	driver := lookFor(t, "WebKitWebDriver")
	home := t.TempDir()
	b := &browser{name: "WebKit", downloads: t.TempDir(), script: asTask}
	folders := fmt.Sprintf("XDG_DOWNLOAD_DIR=%q\n", b.downloads)
	if err := os.WriteFile(filepath.Join(home, "user-dirs.dirs"), []byte(folders), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(driver, "--port="+port)
	cmd.Env = append(os.Environ(), "DISPLAY="+startScreen(t), "HOME="+home, "XDG_CONFIG_HOME="+home, "MESA_SHADER_CACHE_DISABLE=true")
	cmd.Stdout, cmd.WaitDelay = io.Discard, limit // a pipe, so that Wait waits for all of WebKit's processes
	startProcess(t, cmd)
	awaitServer(t, address)
	base := newSession(t, "http://"+address+"/session", map[string]any{
		"webkitgtk:browserOptions": map[string]any{
			"args": []string{"--automation", fmt.Sprintf("--enable-javascript=%t", scripts)},
		},
	})
	b.send = func(c command, params any) (json.RawMessage, error) {
		answer, err := overHTTP(c.method, base+c.path, params)
		if err == nil && c == navigate && scripts {
			_, err = overHTTP(execute.method, base+execute.path, map[string]any{"script": collectComplaints, "args": []any{}})
		}
		return answer, err
	}
	show := func() {
		b.do(t, command{method: "POST", path: "/window/rect"}, map[string]int{"width": 1000, "height": 700}, nil)
	}
	show()
	b.hide = func(t *testing.T) func() { // new tabs open behind the page
		b.do(t, command{method: "POST", path: "/window/minimize"}, nil, nil)
		return show
	}
	b.complaints = func(t *testing.T) (all []string) {
		b.eval(t, &all, "return window.complaints?.splice(0) ?? []")
		return all
	}
	return b
}

// asTask returns a script that runs a function as pages run theirs. In what WebKitWebDriver calls by
// itself, promises go on whenever an event was dispatched.
func asTask(function string) string {
	return "return new Promise(done => setTimeout(done)).then(() => " + function + ".apply(null, arguments))"
}

// collectComplaints has a page keep what goes to its console. WebKitWebDriver hands out no console,
// and MiniBrowser prints none while it is driven. What came while the page was loaded is missing,
// and so are the browser's own complaints about requests.
const collectComplaints = `
	window.complaints = []
	addEventListener('error', event => complaints.push(event.message || 'did not load: ' + event.target.outerHTML), true)
	addEventListener('unhandledrejection', event => complaints.push(String(event.reason)))
	addEventListener('securitypolicyviolation', event => complaints.push(event.violatedDirective + ' forbids ' + event.blockedURI))
	for (const level of ['error', 'warn']) console[level] = (...all) => complaints.push(all.join(' '))`

// startScreen starts an X server without a screen, until the test ends. It returns the display.
func startScreen(t *testing.T) string {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(lookFor(t, "Xvfb"), "-displayfd", "3", "-screen", "0", "1280x1024x24", "-nolisten", "tcp", "-noreset")
	cmd.ExtraFiles = []*os.File{w}
	startProcess(t, cmd)
	w.Close()
	number, err := io.ReadAll(r)
	if err != nil || len(number) == 0 {
		t.Fatalf("Xvfb does not start: %v", err)
	}
	return ":" + string(number[:len(number)-1])
}
