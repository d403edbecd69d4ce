package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// porthole goes on when its log's reader goes away, like a tee that was killed. What it
// starts does not ignore SIGPIPE for that.
func TestLogReaderGoes(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := helper(t, "porthole", "-listen", "127.0.0.1:0", "-camera", "emulated")
	cmd.Stdout, cmd.Stderr = w, w
	status := startSelf(t, cmd)
	w.Close()
	p := &program{}
	for lines := bufio.NewScanner(r); p.url == "" && lines.Scan(); {
		if _, where, ok := strings.Cut(lines.Text(), "watch at "); ok {
			p.url = strings.TrimSuffix(where, "/")
		}
	}
	r.Close()

	watching := ask(t, "GET", p.url+"/stream")
	for fps := range 5 { // each time the camera is opened anew, and that is logged
		body := strings.NewReader(fmt.Sprintf("fps=%d", fps+10))
		response, err := http.Post(p.url+"/settings", "application/x-www-form-urlencoded", body)
		if err != nil {
			t.Fatalf("it has ended: %v", err)
		}
		response.Body.Close()
		eventually(t, "the camera has that rate", func() bool {
			st := stateOf(t, p)
			return st["mode"] == modeLive && st["fps_granted"] == float64(fps+10)
		})
	}
	if _, err := io.ReadFull(watching.Body, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	all, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(all), "SigIgn:\t") // is inherited
	ignored, err := strconv.ParseUint(after[:16], 16, 64)
	if err != nil || ignored&(1<<(syscall.SIGPIPE-1)) != 0 {
		t.Errorf("the signals %#x are ignored, error %v; want SIGPIPE not to be", ignored, err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if got := await(t, "the exit status", status); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
}
