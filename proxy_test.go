package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"porthole/testdata/skip"
)

// A proxyServer is a web server that has porthole behind it.
type proxyServer struct {
	program string
	around  string                         // the settings in docs/proxies.md, in place of %s
	args    func(settings string) []string // given the file
}

var proxyServers = map[string]proxyServer{
	"nginx": {"nginx", `
		daemon off;
		master_process off;
		pid nginx.pid;
		error_log stderr;
		events {}
		http {
			access_log off;
			client_body_temp_path body;
			proxy_temp_path proxy;
			fastcgi_temp_path fastcgi;
			uwsgi_temp_path uwsgi;
			scgi_temp_path scgi;
			%s
		}`, func(settings string) []string { return []string{"-p", filepath.Dir(settings), "-c", settings} }},
	"haproxy": {"haproxy", "%s", func(settings string) []string { return []string{"-db", "-f", settings} }},
	"caddy": {"caddy", "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n%s", func(settings string) []string {
		return []string{"run", "--adapter", "caddyfile", "--config", settings}
	}},
}

// TestProxies has web servers with the settings of docs/proxies.md in front of porthole.
func TestProxies(t *testing.T) {
	docs, err := os.ReadFile("docs/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "20")
	for name, server := range proxyServers {
		t.Run(name, func(t *testing.T) {
			_, settings, _ := strings.Cut(string(docs), "\n```"+name+"\n")
			settings, _, found := strings.Cut(settings, "\n```\n")
			if !found {
				t.Fatalf("docs/proxies.md has no settings for %s", name)
			}
			at := server.start(t, strings.Replace(settings, "127.0.0.1:5000", p.address, 1))
			testProxy(t, "http://"+at+"/webcam/")
		})
	}
}

// start starts the web server with settings. It returns its address.
func (s proxyServer) start(t *testing.T, settings string) string {
	path, err := exec.LookPath(s.program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + s.program)
	}
	if err != nil {
		skip.Test(t, s.program+" is not installed", "install it: nginx-light, haproxy, caddy on Debian")
	}
	at := freeAddress(t)
	settings = strings.Replace(settings, "listen 80", "listen "+at, 1)
	settings = strings.Replace(settings, "bind :80", "bind "+at, 1)
	settings = strings.Replace(settings, ":80 {", strings.TrimPrefix(at, "127.0.0.1")+" {", 1)
	file := filepath.Join(t.TempDir(), "settings")
	if err := os.WriteFile(file, []byte(strings.Replace(s.around, "%s", settings, 1)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, s.args(file)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	log := new(lockedText)
	cmd.Stdout, cmd.Stderr = log, log
	startProcess(t, cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", s.program, log)
		}
	})
	return at
}

// testProxy looks at what is behind the web server.
func testProxy(t *testing.T, url string) {
	conn, err := watch(strings.TrimPrefix(strings.TrimSuffix(url, "/webcam/"), "http://"), "/webcam/?action=stream")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	parts, err := readStream(conn)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for len(seen) < 30 {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatalf("after %d pictures: %v", len(seen), err)
		}
		seen[part.Header.Get("X-Frame")] = true
	}
	if body := text(t, ask(t, "GET", url+"?action=snapshot")); !isPicture(body) {
		t.Errorf("the snapshot is no picture: %.100q", body)
	}
	if body := text(t, ask(t, "GET", url)); !strings.Contains(body, "<title>") {
		t.Errorf("the page is %.100q", body)
	}
	events := ask(t, "GET", url+"events")
	line := make([]byte, 6)
	if _, err := io.ReadFull(events.Body, line); string(line) != "data: " {
		t.Errorf("got events %q, error %v", line, err)
	}
}
