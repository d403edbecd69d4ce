//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"context"
	"log"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A fakeBoard has devices, each at one or more paths.
type fakeBoard struct {
	mu      sync.Mutex
	devices map[string]*fakeKernel
	opened  []*fakeKernel // by descriptor
}

func (b *fakeBoard) plug(path string, k *fakeKernel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.devices == nil {
		b.devices = map[string]*fakeKernel{}
	}
	k.unplugged.Store(false)
	b.devices[path] = k
}

// unplug takes a device from all its paths.
func (b *fakeBoard) unplug(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := b.devices[path]
	gone.unplugged.Store(true)
	for path, k := range b.devices {
		if k == gone {
			delete(b.devices, path)
		}
	}
}

// nodes lists the video nodes in the order of their numbers, which have as many
// digits.
func (b *fakeBoard) nodes() []string { return b.list("/dev/video") }

func (b *fakeBoard) mediaDevices() []string { return b.list("/dev/media") }

func (b *fakeBoard) list(prefix string) (paths []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for path := range b.devices {
		if strings.HasPrefix(path, prefix) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func (b *fakeBoard) open(path string) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.devices[path]
	if k == nil {
		return -1, unix.ENOENT
	}
	if _, err := k.open(path); err != nil {
		return -1, err
	}
	b.opened = append(b.opened, k)
	return len(b.opened) - 1, nil
}

func (b *fakeBoard) at(fd int) *fakeKernel {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened[fd]
}

func (b *fakeBoard) close(fd int) error { return b.at(fd).close(fd) }

func (b *fakeBoard) ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	return b.at(fd).ioctl(fd, request, arg)
}

func (b *fakeBoard) poll(fds []unix.PollFd, timeoutMillis int) (int, error) {
	return b.at(int(fds[0].Fd)).poll(fds, timeoutMillis)
}

func (b *fakeBoard) watch(fd int) (watcher, error) { return b.at(fd).watch(fd) }

func (b *fakeBoard) mmap(fd int, offset int64, length int) ([]byte, error) {
	return b.at(fd).mmap(fd, offset, length)
}

// munmap is told no descriptor: one camera at a time has buffers.
func (b *fakeBoard) munmap(m []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.opened {
		if k.mapped > 0 {
			return k.munmap(m)
		}
	}
	return unix.EINVAL
}

func (b *fakeBoard) deviceNumber(path string) (major, minor uint32, ok bool) {
	return 81, uint32(nodeNumber(path)), true
}

func (b *fakeBoard) topology(fd int, g *mediaGraph) error { return b.at(fd).topology(fd, g) }

// webcam returns a USB camera that gives a picture every 100 ms.
func webcam(name, bus string) *fakeKernel {
	k := newFakeKernel()
	k.card, k.bus = name, bus
	k.shows(testJPEG(frameSize+1024, 'c'))
	k.endless, k.every = true, 100*time.Millisecond
	return k
}

// deadNode returns a node that can be opened and started, and never gives a
// picture.
func deadNode() *fakeKernel {
	k := newFakeKernel()
	k.card, k.driver, k.bus, k.formats = "isp", "some-isp", "platform:isp", []string{"YUYV", "NV12"}
	k.startup = 1000 * time.Hour
	return k
}

// failing returns a node of which a call always fails.
func failing(call string, err error) *fakeKernel {
	k := webcam("broken", "platform")
	k.fail = failAt(call, err)
	return k
}

// A boardTest is porthole on a fakeBoard, with a viewer.
type boardTest struct {
	*testing.T
	*fakeBoard
	supervisor *supervisor
	viewer *viewer
	logged *bytes.Buffer
}

// onBoard runs a test of porthole on a board with devices, as if with -camera.
func onBoard(t *testing.T, asked string, devices map[string]*fakeKernel, test func(b *boardTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &boardTest{T: t, fakeBoard: &fakeBoard{}, logged: new(bytes.Buffer)}
		for path, k := range devices {
			b.plug(path, k)
		}
		before := drivers
		t.Cleanup(func() { drivers = before })
		drivers = slices.DeleteFunc(slices.Clone(before), func(d driver) bool { return d.devices != nil })
		register(driver{
			name: "v4l2", rank: 20, settle: settleV4L2, devices: b.nodes,
			find:    func(want settings) ([]string, error) { return findNodes(b, b.nodes(), want) },
			open:    func(device string, want settings) (camera, error) { return openNode(b, device, want) },
			hasTwin: func(info cameraInfo) bool { return hasTwin(b, b.nodes(), info) },
		})
		want := settings{camera: asked, width: 640, height: 480, quality: 80}
		b.supervisor = newSupervisor(startStream(t), want, 10*time.Second, log.New(b.logged, "", 0))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool)
		go func() {
			b.supervisor.run(ctx)
			close(done)
		}()
		t.Cleanup(func() {
			cancel()
			<-done
			for _, k := range b.opened {
				k.checkReleased(t)
			}
		})
		synctest.Wait()
		b.viewer = newViewer(t, b.supervisor.stream, 0)
		test(b)
		if err := b.viewer.ended(); err != nil {
			t.Errorf("the viewer was disconnected: %v", err)
		}
	})
}

// wantState checks the mode and the device, and how the reason ends.
func (b *boardTest) wantState(mode, device, reason string) {
	b.Helper()
	if st := b.supervisor.currentStatus(); st.Mode != mode || st.Device != device || !strings.HasSuffix(st.Reason, reason) || reason == "" && st.Reason != "" {
		b.Errorf("after %v: mode %q, device %q, reason %q; want %q, %q, %q", time.Since(b.supervisor.stream.start), st.Mode, st.Device, st.Reason, mode, device, reason)
	}
}

func (b *boardTest) wantShown(want string) {
	b.Helper()
	if got := shown(b.viewer); got != want {
		b.Errorf("the viewer saw %s, want %s", got, want)
	}
}
