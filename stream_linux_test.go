package main

import (
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"porthole/testdata/skip"
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

// A client whose socket stays full is dropped when its patience is over, and not
// before; others are served meanwhile.
func TestFullSocket(t *testing.T) {
	t.Parallel() // it mostly waits
	if testing.Short() {
		skip.Test(t, "it waits for 10 s and more", "run it without -short")
	}
	s, address := serveStream(t, 2)
	good, err := watch(address, "/stream")
	if err != nil {
		t.Fatal(err)
	}
	v := startViewer(t, good)
	eventually(t, "the good client is there", func() bool { return len(s.state().List) == 1 })
	stuck, err := watch(address, "/stream") // never reads
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	eventually(t, "both are there", func() bool { return len(s.state().List) == 2 })

	jpeg := testJPEG(60_000, 1)
	published := uint32(0)
	eventually(t, "the socket is full", func() bool {
		publishJPEG(s, jpeg)
		published++
		return slices.ContainsFunc(s.state().List, func(c clientState) bool { return c.Sent+100 < published })
	})
	start, frames := time.Now(), len(v.received())
	for len(s.state().List) == 2 && time.Since(start) < 3*clientTimeout {
		publishJPEG(s, jpeg)
		time.Sleep(20 * time.Millisecond)
	}
	if took := time.Since(start); took < clientTimeout/2 || took >= 3*clientTimeout {
		t.Errorf("the stuck client was dropped after %v, want %v", took, clientTimeout)
	}
	if got := len(v.received()) - frames; got < 100 {
		t.Errorf("the good client got %d frames meanwhile", got)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
