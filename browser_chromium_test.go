package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

func startChromium(t *testing.T, scripts bool) *browser {
	driver := lookFor(t, "chromedriver")
	program := lookFor(t, "chromium", "chromium-browser", "google-chrome")
	b := &browser{name: "Chromium", downloads: t.TempDir(), closesImages: true}

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
	base = newSession(t, base, map[string]any{
		"browserName":       "chrome",
		"goog:loggingPrefs": map[string]string{"browser": "ALL"},
		"goog:chromeOptions": map[string]any{
			"binary": program,
			"prefs":  preferences,
			"args": []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--disable-sync",
				"--window-size=1000,700", "--user-data-dir=" + t.TempDir()},
		},
	})

	b.script, b.hide = returnApplied, b.behindTab
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
