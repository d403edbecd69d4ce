//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"cmp"
	"context"
	"log"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

const fakePath = "/dev/video7"

// smallSize keeps slow boards, and emulated ones, from being busy for long.
var smallSize = settings{camera: "auto", width: 320, height: 180, quality: 80}

// openFake opens the camera of k. When the test ends it is closed, and nothing
// may be left of it.
func openFake(t *testing.T, k *v4l2test.Camera) *v4l2Camera {
	t.Helper()
	c, err := openNode(k, fakePath, smallSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		k.CheckReleased(t)
	})
	return c.(*v4l2Camera)
}

// captureOne returns the next picture of c.
func captureOne(c camera) ([]byte, error) {
	picture, _, err := c.Capture(context.Background(), nil)
	return picture, err
}

// session opens the camera of k, captures pictures and closes it. It returns
// the first error.
func session(k *v4l2test.Camera, pictures int) error {
	c, err := openNode(k, fakePath, smallSize)
	if err != nil {
		return err
	}
	for range pictures {
		if _, err = captureOne(c); err != nil {
			break
		}
	}
	return cmp.Or(err, c.Close())
}

func openNode(k v4l2.Kernel, path string, want settings) (camera, error) {
	return openV4L2(k, path, want, v4l2Formats)
}

// fract returns a fraction of a second.
func fract(numerator, denominator uint32) uapi.Fract {
	return uapi.Fract{Numerator: numerator, Denominator: denominator}
}

func fourCC(letters string) uint32 { return uint32(v4l2.MakeFourCC(letters)) }

// webcam returns a USB camera that gives a picture every 100 ms.
func webcam(name, bus string) *v4l2test.Camera {
	k := v4l2test.NewCamera()
	k.Card, k.BusInfo = name, bus
	k.Show(testJPEG(frameSize+1024, 'c'))
	k.Endless, k.Interval = true, 100*time.Millisecond
	return k
}

// deadNode returns a node that can be opened and started, and never gives a
// picture.
func deadNode() *v4l2test.Camera {
	k := v4l2test.NewCamera()
	k.Card, k.Driver, k.BusInfo, k.Formats = "isp", "some-isp", "platform:isp", []string{"YUYV", "NV12"}
	k.Startup = 1000 * time.Hour
	return k
}

// failing returns a node of which a call always fails.
func failing(call string, err error) *v4l2test.Camera {
	k := webcam("broken", "platform")
	k.Fail = v4l2test.FailAt(call, err)
	return k
}

// A boardTest is porthole on a Board, with a viewer.
type boardTest struct {
	*testing.T
	*v4l2test.Board
	supervisor *supervisor
	viewer     *viewer
	logged     *bytes.Buffer
}

// onBoard runs a test of porthole on a board with devices, as if with -camera.
func onBoard(t *testing.T, asked string, devices map[string]*v4l2test.Camera, test func(b *boardTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &boardTest{T: t, Board: &v4l2test.Board{}, logged: new(bytes.Buffer)}
		for path, k := range devices {
			b.Plug(path, k)
		}
		want := settings{camera: asked, width: 640, height: 480, quality: 80}
		b.supervisor = newSupervisor(startStream(t), withoutDevices(v4l2Driver(b.Board)), want, 10*time.Second, log.New(b.logged, "", 0))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool)
		go func() {
			b.supervisor.run(ctx)
			close(done)
		}()
		t.Cleanup(func() {
			cancel()
			<-done
			b.CheckReleased(t)
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
