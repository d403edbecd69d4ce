//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"porthole/mjpeg"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

func TestV4L2Calls(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Show(picture1, picture2)
	if err := session(k, 2); err != nil {
		t.Fatal(err)
	}
	want := "open QUERYCAP G_INPUT S_INPUT QUERY_DV_TIMINGS QUERYSTD ENUM_FMT ENUM_FMT ENUM_FMT ENUM_FRAMESIZES S_FMT" +
		" G_PARM ENUM_FRAMEINTERVALS S_PARM SUBSCRIBE_EVENT REQBUFS 4" +
		strings.Repeat(" QUERYBUF mmap", 4) + strings.Repeat(" QBUF", 4) +
		" STREAMON watch G_EXT_CTRLS" +
		strings.Repeat(" wait DQBUF DQBUF QBUF", 2) +
		" STREAMOFF munmap munmap munmap munmap REQBUFS 0 close"
	if got := strings.Join(k.Calls, " "); got != want {
		t.Errorf("calls:\ngot  %s\nwant %s", got, want)
	}
}

// optionalCalls are those without which a camera works as well as it can.
var optionalCalls = []string{
	"wait", "G_INPUT", "S_INPUT", "QUERY_DV_TIMINGS", "QUERYSTD", "ENUM_FMT", "ENUM_FRAMESIZES", "S_FMT",
	"G_PARM", "ENUM_FRAMEINTERVALS", "S_PARM", "SUBSCRIBE_EVENT", "G_EXT_CTRLS",
}

// Whichever call fails: it is reported, and everything is given back.
func TestV4L2EachCallFails(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		always bool // from then on
	}{
		{"once", unix.EIO, false},
		{"unplugged", unix.ENODEV, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for n := 1; ; n++ {
				k := v4l2test.NewCamera()
				k.Show(picture1, picture2)
				failed := ""
				k.Fail = func(call string) error {
					if len(k.Calls) == n {
						failed = call
					}
					if len(k.Calls) == n || len(k.Calls) > n && test.always {
						return test.err
					}
					return nil
				}
				err := session(k, 2)
				if failed == "" {
					return // there are no more calls
				}
				if !errors.Is(err, test.err) && !slices.Contains(optionalCalls, failed) {
					t.Errorf("got error %v, want %v", err, test.err)
				}
				k.CheckReleased(t)
				if t.Failed() {
					t.Fatalf("that was with call %d, %s, failing; all calls: %q", n, failed, k.Calls)
				}
			}
		})
	}
}

func TestV4L2Errors(t *testing.T) {
	tests := []struct {
		call string
		err  error
		want string
	}{
		{"open", unix.EACCES, "/dev/video7: permission denied: run as root or add this user to the group video"},
		{"open", unix.EPERM, "/dev/video7: permission denied: run as root or add this user to the group video"},
		{"open", unix.ENOENT, "/dev/video7: no such device: is it plugged in?"},
		{"open", unix.ENXIO, "/dev/video7: no such device: is it plugged in?"},
		{"open", unix.EBUSY, "/dev/video7: in use by another program"},
		{"QUERYCAP", unix.ENOTTY, "/dev/video7: not a video device"},
		{"S_FMT", unix.EBUSY, "/dev/video7: in use by another program"},
		{"REQBUFS", unix.EBUSY, "/dev/video7: in use by another program"},
		{"mmap", unix.ENOMEM, "/dev/video7: mmap: cannot allocate memory"},
		{"STREAMON", unix.ENOSPC, "/dev/video7: not enough USB bandwidth: try a smaller -size, or one camera fewer on this port"},
		{"STREAMON", unix.EINVAL, "/dev/video7: ioctl(VIDIOC_STREAMON): invalid argument"},
		{"STREAMON", unix.EPIPE, "/dev/video7: nothing is connected to this receiver, or its pipeline is not set up (media-ctl): ioctl(VIDIOC_STREAMON): broken pipe"},
		{"STREAMON", unix.EBUSY, "/dev/video7: in use by another program"},
		{"QUERYCAP", unix.EPERM, "/dev/video7: ioctl(VIDIOC_QUERYCAP): operation not permitted"},
		{"QUERYBUF", unix.EBUSY, "/dev/video7: ioctl(VIDIOC_QUERYBUF): device or resource busy"},
		{"QBUF", unix.EACCES, "/dev/video7: ioctl(VIDIOC_QBUF): permission denied"},
		{"DQBUF", unix.ENODEV, "/dev/video7: the camera is gone: was it unplugged?"},
		{"DQBUF", unix.EIO, "/dev/video7: ioctl(VIDIOC_DQBUF): input/output error"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %v", test.call, test.err), func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Show(picture1)
			k.Fail = v4l2test.FailAt(test.call, test.err)
			err := session(k, 1)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			missing := test.err == unix.ENOENT || test.err == unix.ENXIO || test.err == unix.ENOTTY
			if got := errors.Is(err, fs.ErrNotExist); got != missing {
				t.Errorf("%v: matches fs.ErrNotExist: got %v, want %v", err, got, missing)
			}
		})
	}
}

// A driver that tells nonsense must not bring the program down.
func TestV4L2Nonsense(t *testing.T) {
	tests := []struct {
		name   string
		change func(b *uapi.Buffer)
	}{
		{"buffer 4 of 4", func(b *uapi.Buffer) { b.Index = 4 }},
		{"buffer 2^32-1", func(b *uapi.Buffer) { b.Index = 1<<32 - 1 }},
		{"one byte too many", func(b *uapi.Buffer) { b.BytesUsed = b.Length + 1 }},
		{"2^31 bytes", func(b *uapi.Buffer) { b.BytesUsed = 1 << 31 }},
		{"2^32-1 bytes", func(b *uapi.Buffer) { b.BytesUsed = 1<<32 - 1 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Batches = [][]v4l2test.Picture{{{Data: picture1, Change: test.change}}}
			_, err := captureOne(openFake(t, k))
			if err == nil || errors.Is(err, mjpeg.ErrDamaged) {
				t.Errorf("got error %v, want one that has the camera opened anew", err)
			}
		})
	}
}

func TestV4L2Stall(t *testing.T) {
	tests := []struct {
		name string
		rate uapi.Fract
		want time.Duration
	}{
		{"ordinary rate", fract(1, 30), 2 * time.Second},
		{"a picture in 4 s", fract(4, 1), 20 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := v4l2test.NewCamera()
				k.Slowest = test.rate
				k.Show(picture1)
				c := openFake(t, k)
				if _, err := captureOne(c); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err := captureOne(c)
				took := time.Since(start)
				want := fmt.Sprintf("%s: no picture for %v: the camera stalled", fakePath, test.want)
				if err == nil || err.Error() != want {
					t.Errorf("got error %v, want %s", err, want)
				}
				if took < test.want || took > test.want+2*waitStep {
					t.Errorf("gave up after %v, want %v", took, test.want)
				}
			})
		})
	}
}

func TestV4L2Cancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := openFake(t, v4l2test.NewCamera())
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, _, err := c.Capture(ctx, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		if took, most := time.Since(start), 500*time.Millisecond+waitStep; took > most {
			t.Errorf("Capture took %v, want at most %v", took, most)
		}
	})
}

// A stream that is stopped has nothing to wait for.
func TestV4L2StreamStopped(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Revents = unix.POLLERR
	_, err := captureOne(openFake(t, k))
	if want := fakePath + ": the camera stopped streaming"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestV4L2Capture(t *testing.T) {
	damaged := v4l2test.Picture{Data: picture1, Change: v4l2test.WithFlags(uapi.V4L2_BUF_FLAG_ERROR)}
	tests := []struct {
		name  string
		ready []v4l2test.Picture // at once
		want  []byte             // nil: mjpeg.ErrDamaged
		after int                // times that mjpeg.ErrDamaged comes then
	}{
		{"one", []v4l2test.Picture{{Data: picture1}}, picture1, 0},
		{"the newest of three", []v4l2test.Picture{{Data: picture1}, {Data: picture2}, {Data: picture3}}, picture3, 0},
		{"padding", []v4l2test.Picture{{Data: append(bytes.Clone(picture1), make([]byte, 5000)...)}}, picture1, 0},
		{"no end", []v4l2test.Picture{{Data: picture1[:len(picture1)-2]}}, picture1, 0},
		{"the last one's end in front", []v4l2test.Picture{{Data: append(bytes.Clone(picture2[len(picture2)-100:]), picture1...)}}, picture1, 0},
		{"half and another", []v4l2test.Picture{{Data: append(bytes.Clone(picture1[:len(picture1)/2]), picture2...)}}, nil, 0},
		{"ERROR flag", []v4l2test.Picture{damaged}, nil, 0},
		{"the newest has the ERROR flag", []v4l2test.Picture{{Data: picture2}, damaged}, picture2, 1},
		{"the oldest has the ERROR flag", []v4l2test.Picture{damaged, {Data: picture2}}, picture2, 1},
		{"empty", []v4l2test.Picture{{}}, nil, 0},
		{"truncated", []v4l2test.Picture{{Data: picture1[:len(picture1)/2]}}, nil, 0},
		{"no JPEG", []v4l2test.Picture{{Data: make([]byte, 5000)}}, nil, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Batches = [][]v4l2test.Picture{test.ready}
			k.Show(picture3)
			c := openFake(t, k)
			got, err := captureOne(c)
			if (err == nil) != (test.want != nil) || err != nil && !errors.Is(err, mjpeg.ErrDamaged) {
				t.Errorf("got error %v, want mjpeg.ErrDamaged: %v", err, test.want == nil)
			}
			if !bytes.Equal(got, test.want) {
				t.Errorf("got another picture, of %d bytes, want %d", len(got), len(test.want))
			}
			if len(k.Queued) != buffersJPEG {
				t.Errorf("%d buffers are queued, want %d", len(k.Queued), buffersJPEG)
			}
			for range test.after {
				if _, err := captureOne(c); !errors.Is(err, mjpeg.ErrDamaged) {
					t.Errorf("afterwards: got error %v, want mjpeg.ErrDamaged", err)
				}
			}
			if got, err := captureOne(c); err != nil || !bytes.Equal(got, picture3) {
				t.Errorf("the next picture: got %d bytes, error %v; want %d bytes", len(got), err, len(picture3))
			}
		})
	}
}

func TestV4L2CaptureAllocates(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Batches = [][]v4l2test.Picture{{{Data: picture1}, {Data: picture2}}}
	k.Endless = true
	c := openFake(t, k)
	dst := make([]byte, 0, k.BufferSize)
	allocs := testing.AllocsPerRun(100, func() {
		k.Calls = k.Calls[:0]
		if _, _, err := c.Capture(t.Context(), dst); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations per picture, want none", allocs)
	}
}
