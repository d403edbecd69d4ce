package main

import (
	"os"
	"syscall"
	"testing"
)

// Viewers whose process is stopped delay nobody else, and nothing of them is
// left once it is gone.
func TestStoppedClients(t *testing.T) {
	s, address := serveStream(t, 100)
	good, err := watch(address, "/stream")
	if err != nil {
		t.Fatal(err)
	}
	v := startViewer(t, good)
	eventually(t, "the good client is there", func() bool { return len(s.state().List) == 1 })
	descriptors := openDescriptors(t)

	stopped := startViewers(t, address, 10)
	eventually(t, "all clients are there", func() bool { return len(s.state().List) == 11 })
	stopped.Process.Signal(syscall.SIGSTOP)
	for i := range 300 {
		publishJPEG(s, numberedJPEG(i+1))
		eventually(t, "the good client has the frame", func() bool { return v.newest() == i+1 })
	}
	if n := len(v.received()); n != 300 {
		t.Errorf("the good client got %d frames of 300", n)
	}

	stopped.Process.Kill()
	stopped.Wait()
	eventually(t, "the stopped clients are gone", func() bool {
		publishJPEG(s, numberedJPEG(0))
		return len(s.state().List) == 1
	})
	eventually(t, "their descriptors are closed", func() bool { return openDescriptors(t) <= descriptors })
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
