// Package skip skips tests and lists what was skipped, for the tests of all packages.
package skip

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// skipped has the names of skipped tests, by the reason.
var skipped struct {
	sync.Mutex
	names map[string][]string
}

// Test skips a test, and says why and what would make it run.
func Test(t testing.TB, why, remedy string) {
	t.Helper()
	reason := why + "; " + remedy
	skipped.Lock()
	defer skipped.Unlock()
	if skipped.names == nil {
		skipped.names = make(map[string][]string)
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	if !slices.Contains(skipped.names[reason], name) {
		skipped.names[reason] = append(skipped.names[reason], name)
	}
	t.Skip(reason)
}

// Main runs the tests, lists those that were skipped, a line for each reason, and returns the
// exit status.
func Main(m *testing.M) int {
	status := m.Run()
	if len(skipped.names) > 0 {
		list()
	}
	return status
}

func list() {
	var out io.Writer = os.Stderr
	if f := openGoStderr(); f != nil {
		defer f.Close()
		out = f
	}
	for _, reason := range slices.Sorted(maps.Keys(skipped.names)) {
		fmt.Fprintf(out, "skipped: %s: %s\n", strings.Join(skipped.names[reason], ", "), reason)
	}
}

// openGoStderr opens the standard error of go test, which discards the output of packages
// that pass. It is nil if another program runs the tests, on systems other than Linux, and
// if the standard error is a file: what is appended to that would be overwritten.
func openGoStderr() *os.File {
	parent := fmt.Sprintf("/proc/%d", os.Getppid())
	if name, _ := os.ReadFile(parent + "/comm"); strings.TrimSpace(string(name)) != "go" {
		return nil
	}
	info, err := os.Stat(parent + "/fd/2")
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0 {
		return nil
	}
	f, _ := os.OpenFile(parent+"/fd/2", os.O_WRONLY, 0)
	return f
}
