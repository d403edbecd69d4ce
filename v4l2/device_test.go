//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

const path = "/dev/video7"

// open opens a camera. When the test ends it is closed, and nothing of it may be left.
func open(t *testing.T, c *v4l2test.Camera) *v4l2.Device {
	t.Helper()
	d, err := v4l2.Open(c, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		c.CheckReleased(t)
	})
	return d
}

// capture does everything that a program does for a picture, and returns it, with a space
// between planes of memory.
func capture(c *v4l2test.Camera) (picture []byte, err error) {
	d, err := v4l2.Open(c, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if _, err := d.QueryCap(); err != nil {
		return nil, err
	}
	if _, err := d.SetFormat(v4l2.MakeFourCC("MJPG"), v4l2.FrameSize{Width: 640, Height: 480}); err != nil {
		return nil, err
	}
	if _, err := d.RequestBuffers(2); err != nil {
		return nil, err
	}
	if err := d.StreamOn(); err != nil {
		return nil, err
	}
	if err := d.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	var b v4l2.Buffer
	if err := d.Dequeue(&b); err != nil {
		return nil, err
	}
	picture = bytes.Join(b.Planes(), []byte(" "))
	return picture, d.Queue(&b)
}

func TestCapture(t *testing.T) {
	c := v4l2test.NewCamera()
	c.Show([]byte("a picture"))
	picture, err := capture(c)
	if err != nil || string(picture) != "a picture" {
		t.Errorf("got %q, error %v", picture, err)
	}
	const want = "open QUERYCAP S_FMT REQBUFS 2 QUERYBUF mmap QUERYBUF mmap QBUF QBUF STREAMON watch wait DQBUF QBUF " +
		"STREAMOFF munmap munmap REQBUFS 0 close"
	if got := strings.Join(c.Calls, " "); got != want {
		t.Errorf("calls:\ngot  %s\nwant %s", got, want)
	}
	c.CheckReleased(t)
}

// Whichever call fails, its error is returned and everything is given back.
func TestEachCallFails(t *testing.T) {
	for n := 1; ; n++ {
		c := v4l2test.NewCamera()
		c.Show([]byte("a picture"))
		failed := ""
		c.Fail = func(call string) error {
			if len(c.Calls) == n {
				failed = call
				return unix.EIO
			}
			return nil
		}
		_, err := capture(c)
		if failed == "" {
			return // there are no more calls
		}
		// A watcher that fails without a reason is asked for a picture all the same.
		if !errors.Is(err, unix.EIO) && failed != "wait" {
			t.Errorf("call %d, %s: got error %v, want %v", n, failed, err, unix.EIO)
		}
		if name := v4l2.FailedCall(err); name != "" && !strings.Contains(name, strings.Fields(failed)[0]) {
			t.Errorf("call %d, %s: the error is of %s", n, failed, name)
		}
		c.CheckReleased(t)
	}
}

// A device that is only asked is only opened and closed.
func TestCloseUnused(t *testing.T) {
	c := v4l2test.NewCamera()
	d, err := v4l2.Open(c, path)
	if err != nil {
		t.Fatal(err)
	}
	d.EnumFormats()
	d.Close()
	if got, want := strings.Join(c.Calls, " "), "open ENUM_FMT ENUM_FMT ENUM_FMT close"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
}

func TestDequeueWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := v4l2test.NewCamera()
		c.Startup = time.Second
		c.Show([]byte("a picture"))
		d := open(t, c)
		d.RequestBuffers(2)
		if err := d.StreamOn(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		d.SetDeadline(start.Add(600 * time.Millisecond))
		var b v4l2.Buffer
		if err := d.Dequeue(&b); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 600*time.Millisecond {
			t.Errorf("got error %v after %v", err, time.Since(start))
		}
		d.SetDeadline(start.Add(2 * time.Second))
		if err := d.Dequeue(&b); err != nil || time.Since(start) != time.Second {
			t.Errorf("got error %v after %v", err, time.Since(start))
		}
		if err := d.TryDequeue(&b); err != unix.EAGAIN {
			t.Errorf("got error %v, want %v", err, unix.EAGAIN)
		}
	})
}

func TestDequeueStopped(t *testing.T) {
	c := v4l2test.NewCamera()
	c.Revents = unix.POLLERR
	d := open(t, c)
	d.RequestBuffers(2)
	if err := d.StreamOn(); err != nil {
		t.Fatal(err)
	}
	var b v4l2.Buffer
	if err := d.Dequeue(&b); !errors.Is(err, v4l2.ErrStopped) {
		t.Errorf("got error %v, want %v", err, v4l2.ErrStopped)
	}
}

// A driver that tells nonsense about a buffer must not bring the program down.
func TestDequeueNonsense(t *testing.T) {
	for name, change := range map[string]func(b *uapi.Buffer){
		"index":                func(b *uapi.Buffer) { b.Index = 2 },
		"index of 32 bits":     func(b *uapi.Buffer) { b.Index = 1<<32 - 1 },
		"bytes used":           func(b *uapi.Buffer) { b.BytesUsed = b.Length + 1 },
		"bytes used, negative": func(b *uapi.Buffer) { b.BytesUsed = 1 << 31 },
	} {
		c := v4l2test.NewCamera()
		c.Batches = [][]v4l2test.Picture{{{Data: []byte("a picture"), Change: change}}}
		if _, err := capture(c); err == nil {
			t.Errorf("%s: got no error", name)
		}
		c.CheckReleased(t)
	}
}

func TestBufferFlags(t *testing.T) {
	at := unix.NsecToTimeval(int64(90 * time.Second))
	c := v4l2test.NewCamera()
	c.Batches = [][]v4l2test.Picture{{
		{Data: []byte("a picture"), Change: func(b *uapi.Buffer) {
			b.Flags, b.Timestamp = uapi.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, at
		}},
		{Data: []byte("a picture"), Change: v4l2test.WithFlags(uapi.V4L2_BUF_FLAG_ERROR)},
		{},
	}}
	d := open(t, c)
	d.RequestBuffers(4)
	if err := d.StreamOn(); err != nil {
		t.Fatal(err)
	}
	d.SetDeadline(time.Now().Add(time.Second))
	var got []string
	for range 3 {
		var b v4l2.Buffer
		if err := d.Dequeue(&b); err != nil {
			t.Fatal(err)
		}
		at, ok := b.Monotonic()
		got = append(got, fmt.Sprint(b.Damaged(), at, ok))
	}
	if want := "[false 1m30s true true 0s false true 0s false]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestCaptureAllocates(t *testing.T) {
	c := v4l2test.NewCamera()
	c.Show([]byte("a picture"))
	c.Endless = true
	d := open(t, c)
	d.RequestBuffers(2)
	if err := d.StreamOn(); err != nil {
		t.Fatal(err)
	}
	wantNoAllocs(t, c, d)
}

// wantNoAllocs checks that a camera whose pictures do not end takes no memory for each.
func wantNoAllocs(t *testing.T, c *v4l2test.Camera, d *v4l2.Device) {
	t.Helper()
	b := new(v4l2.Buffer)
	allocs := testing.AllocsPerRun(100, func() {
		c.Calls = c.Calls[:0]
		if err := errors.Join(d.Dequeue(b), d.Queue(b)); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations per picture, want none", allocs)
	}
}

func TestQueryCap(t *testing.T) {
	const output = 0x00000002 // V4L2_CAP_VIDEO_OUTPUT
	for _, test := range []struct {
		name         string
		device, node uint32
		want         bool
	}{
		{"camera", v4l2.CapVideoCapture | uapi.V4L2_CAP_DEVICE_CAPS, v4l2.CapVideoCapture, true},
		{"several planes", v4l2.CapVideoCaptureMplane, 0, true},
		{"metadata of a camera", v4l2.CapVideoCapture | uapi.V4L2_CAP_DEVICE_CAPS, 0x00800000, false},
		{"output", output, v4l2.CapVideoCapture, false},
		{"encoder", v4l2.CapVideoCapture | v4l2.CapVideoM2M, 0, false},
		{"touch screen", v4l2.CapVideoCapture | v4l2.CapTouch, 0, false},
	} {
		c := v4l2test.NewCamera()
		c.Capabilities, c.DeviceCaps = test.device, test.node
		caps, err := open(t, c).QueryCap()
		if err != nil || caps.IsCapture() != test.want || caps.Card != c.Card || caps.Driver != c.Driver {
			t.Errorf("%s: got %+v, error %v; want IsCapture %v", test.name, caps, err, test.want)
		}
	}
}

func TestFourCC(t *testing.T) {
	for code, want := range map[v4l2.FourCC]string{
		v4l2.MakeFourCC("MJPG"):         "MJPG",
		v4l2.MakeFourCC("Y8"):           "Y8",
		v4l2.MakeFourCC("Y16") | 1<<31:  "Y16 -BE",
		v4l2.MakeFourCC("\x1b[2J"):      ".[2J",
		v4l2.MakeFourCC(""):             "",
		v4l2.MakeFourCC("longer than"):  "long",
		v4l2.MakeFourCC("YUYV") | 1<<31: "YUYV-BE",
	} {
		if got := code.String(); got != want {
			t.Errorf("%#x: got %q, want %q", uint32(code), got, want)
		}
	}
}

// An error behind some formats does not lose them.
func TestEnumFormats(t *testing.T) {
	c := v4l2test.NewCamera()
	d := open(t, c)
	asked := 0
	c.Fail = func(call string) error {
		if asked++; asked == 2 {
			return unix.EIO
		}
		return nil
	}
	formats, err := d.EnumFormats()
	if fmt.Sprint(formats) != "[YUYV]" || !errors.Is(err, unix.EIO) {
		t.Errorf("got %v, error %v, want [YUYV] and %v", formats, err, unix.EIO)
	}
	c.Fail = nil
	if formats, err := d.EnumFormats(); fmt.Sprint(formats) != "[YUYV MJPG]" || err != nil {
		t.Errorf("got %v, error %v", formats, err)
	}
}

func TestEndlessLists(t *testing.T) {
	c := v4l2test.NewCamera()
	c.EndlessLists = true
	d := open(t, c)
	formats, err := d.EnumFormats()
	size := v4l2.FrameSize{Width: 640, Height: 480}
	sizes, intervals := d.EnumFrameSizes(formats[0]), d.EnumFrameIntervals(formats[0], size)
	if err != nil || max(len(formats), len(sizes), len(intervals)) > 256 {
		t.Errorf("got %d formats, %d sizes, %d intervals, error %v", len(formats), len(sizes), len(intervals), err)
	}
}

func TestNearestSizes(t *testing.T) {
	sizes := []v4l2.FrameSize{{Width: 1920, Height: 1080}, {Width: 640, Height: 480}, {Width: 320, Height: 240}}
	v4l2.NearestSizes(sizes, v4l2.FrameSize{Width: 800, Height: 600})
	if got, want := fmt.Sprint(sizes), "[{640 480} {320 240} {1920 1080}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNearestInterval(t *testing.T) {
	usual := []v4l2.Fract{{Numerator: 1, Denominator: 30}, {Numerator: 1, Denominator: 15}, {Numerator: 1, Denominator: 5}}
	for _, test := range []struct {
		intervals []v4l2.Fract
		fps, want float64
	}{
		{usual, 15, 15}, {usual, 14, 15}, {usual, 10, 15}, {usual, 100, 30}, {usual, 0.1, 5}, {nil, 12.5, 12.5},
		{[]v4l2.Fract{{}}, 25, 0},
	} {
		if got := v4l2.NearestInterval(test.intervals, test.fps).Rate(); got != test.want {
			t.Errorf("%v of %v: got %v, want %v", test.fps, test.intervals, got, test.want)
		}
	}
}

func TestSetParm(t *testing.T) {
	c := v4l2test.NewCamera()
	c.Parm.CaptureMode = 7 // is sent back
	d := open(t, c)
	p, err := d.Parm()
	if err != nil || !p.Settable || p.TimePerFrame.Rate() != 25 {
		t.Fatalf("got %+v, error %v", p, err)
	}
	p.TimePerFrame = v4l2.Fract{Numerator: 1, Denominator: 10}
	if p, err = d.SetParm(p); err != nil || p.TimePerFrame.Rate() != 10 || c.Parm.CaptureMode != 7 {
		t.Errorf("got %+v, error %v; the camera has %+v", p, err, c.Parm)
	}
}

func TestSignal(t *testing.T) {
	c := v4l2test.NewCamera()
	d := open(t, c)
	if _, err := d.QueryDVTimings(); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("a camera: got error %v, want %v", err, unix.ENOTTY)
	}
	c.DVTimings[4] = 0x80
	timings, err := d.QueryDVTimings()
	if err = errors.Join(err, d.SetDVTimings(timings)); err != nil || c.SetDVTimings != c.DVTimings {
		t.Errorf("set to %v, error %v, want %v", c.SetDVTimings, err, c.DVTimings)
	}
	c.Std = uapi.Std{0xff}
	std, err := d.QueryStd()
	if err = errors.Join(err, d.SetStd(std)); err != nil || c.SetStd != c.Std {
		t.Errorf("set to %v, error %v, want %v", c.SetStd, err, c.Std)
	}
	c.Revents = unix.POLLPRI
	if pending, err := d.EventPending(); !pending || err != nil {
		t.Errorf("got %v, error %v, want an event", pending, err)
	}
}

func TestQueryNodes(t *testing.T) {
	busy := v4l2test.NewCamera()
	busy.Fail = v4l2test.FailAt("open", unix.EBUSY)
	board := v4l2test.NewBoard(map[string]*v4l2test.Camera{"/dev/video10": v4l2test.NewCamera(), "/dev/video9": busy})
	nodes := v4l2.QueryNodes(board)
	if len(nodes) != 2 || nodes[0].Path != "/dev/video9" || nodes[0].Card != "" || nodes[1].Card != "Fake Webcam" || len(nodes[1].Formats) != 2 {
		t.Errorf("got %+v", nodes)
	}
	board.CheckReleased(t)
}

// A node whose pictures are those that a program puts in elsewhere is told from a camera
// by the topology of its media device.
func TestFedFromMemory(t *testing.T) {
	const (
		processor = 0x4002  // MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER
		sensor    = 0x20001 // MEDIA_ENT_F_CAM_SENSOR
	)
	for source, want := range map[uint32]bool{sensor: false, 0: false, uapi.MEDIA_ENT_F_IO_V4L: true} {
		topology := &v4l2.Topology{
			Entities:   []uapi.MediaEntity{{ID: 1, Function: uapi.MEDIA_ENT_F_IO_V4L}, {ID: 2, Function: processor}, {ID: 3, Function: source}},
			Pads:       []uapi.MediaPad{{ID: 11, EntityID: 1}, {ID: 12, EntityID: 2}, {ID: 13, EntityID: 2}, {ID: 14, EntityID: 3}},
			Links:      []uapi.MediaLink{{SourceID: 13, SinkID: 11}, {SourceID: 14, SinkID: 12}, {SourceID: 21, SinkID: 1}},
			Interfaces: []uapi.MediaInterface{{ID: 21, Major: 81, Minor: 5}},
		}
		if source == 0 { // nothing is connected
			topology.Links = topology.Links[2:]
		}
		board := v4l2test.NewBoard(map[string]*v4l2test.Camera{
			"/dev/media0": v4l2test.NewCamera(), "/dev/media1": {Media: topology}, "/dev/video5": v4l2test.NewCamera(),
		})
		if got := v4l2.QueryNodes(board)[0].FedFromMemory; got != want {
			t.Errorf("source %#x: got %v, want %v", source, got, want)
		}
		board.CheckReleased(t)
	}
}

// The running kernel, whatever devices it has.
func TestLinux(t *testing.T) {
	v4l2.QueryNodes(v4l2.Linux{})
	if _, err := v4l2.Open(v4l2.Linux{}, t.TempDir()+"/video0"); !errors.Is(err, unix.ENOENT) || v4l2.FailedCall(err) != "" {
		t.Errorf("got error %v, want %v", err, unix.ENOENT)
	}
	d, err := v4l2.Open(v4l2.Linux{}, os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = d.QueryCap()
	if errors.Is(err, unix.ENOSYS) {
		return // QEMU without a kernel of its own knows no V4L2
	}
	if !errors.Is(err, unix.ENOTTY) || v4l2.FailedCall(err) != "ioctl(VIDIOC_QUERYCAP)" {
		t.Errorf("got error %v, want %v of VIDIOC_QUERYCAP", err, unix.ENOTTY)
	}
	if _, err := d.RequestBuffers(1); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("got error %v, want %v", err, unix.ENOTTY)
	}
}
