package main

import (
	"strings"
	"testing"
)

// A panic over what a camera's program says ends the program, and is its last line.
func TestChildPanics(t *testing.T) {
	logged := make(chan string, 1)
	calls := 0
	c, err := startChild([]string{"/bin/sh", "-c", "echo hello >&2; sleep 100"}, func(line string) {
		if calls++; calls == 1 {
			panic("fault in log")
		}
		logged <- line
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.out.Close()
	defer c.stop(0)
	if line := await(t, "the panic", logged); !strings.HasPrefix(line, "panic: fault in log\n") {
		t.Errorf("logged %q, want the panic", line)
	}
	if !c.waitExit(limit) || !strings.Contains(c.lastLine(), "a fault in porthole") {
		t.Errorf("the program's last line is %q, want the panic", c.lastLine())
	}
}
