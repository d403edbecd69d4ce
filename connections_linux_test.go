package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// 150 connections to a porthole that may open 64 files keep nobody out, whether they are kept
// alive after a request or never finish one, and are a single line in the log.
func TestFewFiles(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		testFewFiles(t, func(p *program) {
			conn := dial(t, p.address, "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
			http.ReadResponse(bufio.NewReader(conn), nil)
		})
	})
	t.Run("without a request", func(t *testing.T) {
		testFewFiles(t, func(p *program) { dial(t, p.address, "GET /healthz HTTP/1.1\r\nHost:") })
	})
}

func testFewFiles(t *testing.T, connect func(p *program)) {
	startProcess(t, helper(t, "porthole", "-version")) // skips where programs cannot be started
	const files = 64
	cmd := helper(t, "porthole", "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100")
	cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, files)}, cmd.Args...)
	var err error
	if cmd.Path, err = exec.LookPath("sh"); err != nil {
		t.Fatal(err)
	}
	p := launchCommand(t, cmd)
	early := startViewer(t, dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n"))
	eventually(t, "a viewer watches", func() bool { return early.newest() > 0 })
	for range 150 {
		connect(p)
	}

	nextPart(t, partsOf(t, ask(t, "GET", p.url+"/stream")))
	if response := ask(t, "GET", p.url+"/snapshot"); response.StatusCode != 200 || !isPicture(text(t, response)) {
		t.Errorf("got %s, want a snapshot", response.Status)
	}
	seen := early.newest()
	eventually(t, "the viewer from before still watches", func() bool { return early.newest() > seen+10 })
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if len(open) > files-16 {
		t.Errorf("%d files are open, want room for 16 of a camera", len(open))
	}

	p.stop()
	var lines []string
	for line := range p.log {
		if !strings.Contains(line, "camera: ") {
			lines = append(lines, line)
		}
	}
	const want = "127.0.0.1 has 20 connections without a request, as many as it may: the oldest makes room for each new one"
	if len(lines) != 1 || !strings.HasSuffix(lines[0], want) {
		t.Errorf("got the lines %q, want one: %s", lines, want)
	}
}
