//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

type board = map[string]*v4l2test.Camera

// A node that gives no picture is no camera: the emulated one is shown, and a real
// one whenever there is one.
func TestBoardDeadNode(t *testing.T) {
	onBoard(t, "auto", board{"/dev/video14": deadNode()}, func(b *boardTest) {
		time.Sleep(5 * time.Second)
		b.wantState(modeStarting, "/dev/video14", "/dev/video14: the camera is starting")
		time.Sleep(8 * time.Second)
		b.wantState(modeLive, "", "")
		b.wantShown("emulated")
		time.Sleep(12 * time.Second) // the node is tried again
		for _, after := range []time.Duration{time.Second, 4 * time.Second, 20 * time.Second} {
			b.Plug("/dev/video20", webcam("Webcam", "usb-1"))
			time.Sleep(2 * time.Second) // looked for and given up, each in steps
			b.wantState(modeLive, "/dev/video20", "")
			b.Unplug("/dev/video20")
			time.Sleep(after)
		}
		b.wantShown("emulated, live, camera lost, live, camera lost, live, camera lost")
		b.wantState(modeLost, "/dev/video20", "no camera found: is it plugged in, and its kernel driver loaded?")
		if log := b.logged.String(); !strings.Contains(log, "no real one was found (/dev/video14: no picture for 10s: the camera does not start, or is none), one that") {
			t.Errorf("logged\n%s", log)
		}
	})
}

// A camera that is in use for a moment does not lose its place to such a node.
func TestBoardBusyForAMoment(t *testing.T) {
	cam := webcam("Webcam", "usb-1")
	onBoard(t, "auto", board{"/dev/video20": cam, "/dev/video14": deadNode()}, func(b *boardTest) {
		time.Sleep(11 * time.Second)
		b.wantState(modeLive, "/dev/video20", "")
		b.Unplug("/dev/video20")
		busy := webcam("Webcam", "usb-1")
		busy.Fail = v4l2test.FailAt("S_FMT", unix.EBUSY)
		b.Plug("/dev/video20", busy)
		time.Sleep(15 * time.Second)
		b.wantState(modeLost, "/dev/video20", "/dev/video20: in use by another program")
		b.Unplug("/dev/video20")
		b.Plug("/dev/video20", cam)
		time.Sleep(2 * time.Second)
		b.wantState(modeLive, "/dev/video20", "")
	})
}

// Parts of video processors are not tried at all.
func TestBoardProcessors(t *testing.T) {
	for _, driver := range noCameras {
		isp := deadNode()
		isp.Driver = driver
		onBoard(t, "auto", board{"/dev/video14": isp}, func(b *boardTest) {
			time.Sleep(2 * time.Second)
			b.wantState(modeLive, "", "")
			if calls := strings.Join(isp.Calls, " "); strings.Contains(calls, "S_FMT") {
				t.Errorf("%s: got calls %s", driver, calls)
			}
		})
	}
}

// The next node is tried when one fails, however late it does.
func TestBoardNextNode(t *testing.T) {
	for _, test := range []struct {
		call string
		err  error
	}{
		{"S_FMT", unix.EINVAL},
		{"REQBUFS", unix.EINVAL},
		{"STREAMON", unix.EPIPE},
		{"STREAMON", unix.EIO},
		{"STREAMON", unix.ENOLINK},
		{"DQBUF", unix.EIO},
		{"open", unix.EBUSY},
		{"open", unix.EACCES},
	} {
		onBoard(t, "auto", board{"/dev/video0": failing(test.call, test.err), "/dev/video1": webcam("Webcam", "usb-1")}, func(b *boardTest) {
			time.Sleep(time.Second)
			b.wantState(modeLive, "/dev/video1", "")
			b.wantShown("live")
		})
	}
}

// The most helpful of several reasons is shown.
func TestBoardReasons(t *testing.T) {
	sensor := deadNode()
	sensor.Driver, sensor.Formats = "unicam", []string{"pBAA"}
	bandwidth := failing("STREAMON", unix.ENOSPC)
	for _, test := range []struct {
		name   string
		camera string
		nodes  board
		mode   string
		want   string
	}{
		{"a sensor", "auto", board{"/dev/video0": sensor, "/dev/video14": deadNode()}, modeLost, "sudo apt install rpicam-apps"},
		{"a sensor behind", "auto", board{"/dev/video4": deadNode(), "/dev/video9": sensor}, modeLost, "sudo apt install rpicam-apps"},
		{"in use", "auto", board{"/dev/video0": deadNode(), "/dev/video1": failing("open", unix.EBUSY)}, modeLost, "/dev/video1: in use by another program"},
		{"bandwidth", "auto", board{"/dev/video0": bandwidth, "/dev/video1": deadNode()}, modeLost, "one camera fewer on this port"},
		{"nothing set up", "v4l2", board{"/dev/video0": failing("STREAMON", unix.EPIPE)}, modeLost, "nothing is connected to this receiver, or its pipeline is not set up (media-ctl): ioctl(VIDIOC_STREAMON): broken pipe"},
		{"by name", "/dev/video0", board{"/dev/video0": deadNode()}, modeLost, "/dev/video0: no picture for 10s: the camera does not start, or is none"},
		{"nothing", "auto", board{}, modeLive, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoard(t, test.camera, test.nodes, func(b *boardTest) {
				time.Sleep(15 * time.Second)
				if st := b.supervisor.currentStatus(); st.Mode != test.mode || !strings.HasSuffix(st.Reason, test.want) {
					b.Errorf("mode %q, reason %q; want %q, %q", st.Mode, st.Reason, test.mode, test.want)
				}
			})
		})
	}
}

// A camera that takes long to start is not stalled.
func TestBoardSlowStart(t *testing.T) {
	slow := webcam("Capture stick", "usb-1")
	slow.Startup = 8 * time.Second
	onBoard(t, "auto", board{"/dev/video0": slow}, func(b *boardTest) {
		time.Sleep(7 * time.Second)
		b.wantState(modeStarting, "/dev/video0", "/dev/video0: the camera is starting")
		time.Sleep(2 * time.Second)
		b.wantState(modeLive, "/dev/video0", "")
		b.wantShown("live")
		if opened := b.supervisor.currentStatus().Opened; opened != 2 { // one of them a look at the start
			t.Errorf("opened %d times, want 2", opened)
		}
	})
}

// A camera that is told to expose for 3 s, and says 25 fps all the same, gets the
// time that it needs; so does one whose pictures come slower and slower.
func TestBoardSlowPictures(t *testing.T) {
	exposing := webcam("Webcam", "usb-1")
	exposing.Interval = 3 * time.Second
	exposing.Controls = []*v4l2test.Control{{
		ID: uapi.V4L2_CID_EXPOSURE_ABSOLUTE, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Exposure Time, Absolute", Max: 50000, Step: 1, Default: 100, Value: 30000,
	}}
	slower := webcam("Webcam", "usb-1")
	slower.Batches[0][0].Change = func(*uapi.Buffer) { slower.Interval = min(slower.Interval*3/2, 9*time.Second) }
	for name, cam := range map[string]*v4l2test.Camera{"exposing": exposing, "slower": slower} {
		onBoard(t, "auto", board{"/dev/video0": cam}, func(b *boardTest) {
			time.Sleep(2 * time.Minute)
			b.wantState(modeLive, "/dev/video0", "")
			if got := shown(b.viewer); got != "live" {
				t.Errorf("%s: the viewer saw %s", name, got)
			}
		})
	}
}

// A path that names one camera means that one, whatever others have its name.
func TestBoardNamedByPort(t *testing.T) {
	const path = "/dev/v4l/by-path/platform-usb-0:1.2:1.0-video-index0"
	named, other := webcam("Webcam", "usb-1.2"), webcam("Webcam", "usb-1.3")
	onBoard(t, path, board{"/dev/video2": other}, func(b *boardTest) {
		for range 2 {
			time.Sleep(5 * time.Second)
			b.wantState(modeLost, b.supervisor.currentStatus().Device, path+": no such device: is it plugged in?")
			b.Plug(path, named)
			b.Plug("/dev/video0", named)
			time.Sleep(2 * time.Second)
			b.wantState(modeLive, path, "")
			b.Unplug(path)
		}
		if n := strings.Count(strings.Join(other.Calls, " "), "STREAMON"); n > 0 {
			t.Errorf("the other camera was started %d times", n)
		}
	})
}

// The kernel's own name is for whichever camera has it. One that was there and comes
// under another name is shown again only if it cannot be confused.
func TestBoardNamedByNumber(t *testing.T) {
	for _, test := range []struct {
		name        string
		other, late bool // another camera of the same name, from the start or later
		mode        string
	}{
		{"alone", false, false, modeLive},
		{"with a twin", true, false, modeLost},
		{"with a twin that came later", false, true, modeLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			cam, twin := webcam("Webcam", "usb-1.2"), webcam("Webcam", "usb-1.3")
			devices := board{"/dev/video0": cam}
			if test.other {
				devices["/dev/video2"] = twin
			}
			onBoard(t, "/dev/video0", devices, func(b *boardTest) {
				time.Sleep(5 * time.Second)
				if test.late {
					b.Plug("/dev/video2", twin)
					time.Sleep(time.Second)
				}
				b.Unplug("/dev/video0")
				time.Sleep(5 * time.Second)
				b.wantState(modeLost, "/dev/video0", "/dev/video0: no such device: is it plugged in?")
				if test.other {
					b.Unplug("/dev/video2") // both come back elsewhere
					b.Plug("/dev/video6", twin)
				}
				b.Plug("/dev/video4", cam)
				time.Sleep(5 * time.Second)
				if got := b.supervisor.currentStatus().Mode; got != test.mode {
					t.Errorf("it is %s when it has come back as /dev/video4, want %s", got, test.mode)
				}
				b.Unplug("/dev/video4")
				time.Sleep(time.Second)
				b.Plug("/dev/video0", cam)
				time.Sleep(5 * time.Second)
				b.wantState(modeLive, "/dev/video0", "")
			})
		})
	}
}

// A size that a viewer chose and that the bus has no room for is given up.
func TestBoardSizeRefused(t *testing.T) {
	cam := webcam("Webcam", "usb-1")
	cam.Sizes = [][2]uint32{{640, 480}, {1920, 1080}}
	cam.Fail = func(call string) error {
		if call == "STREAMON" && cam.Pix.Width > 640 {
			return unix.ENOSPC
		}
		return nil
	}
	onBoard(t, "auto", board{"/dev/video0": cam}, func(b *boardTest) {
		time.Sleep(2 * time.Second)
		large, small := "1920x1080", "640x480"
		if err := b.supervisor.apply(settingsChange{Size: &large}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		b.wantState(modeLive, "/dev/video0", "")
		b.wantShown("live")
		s := b.supervisor.settings()
		const want = "not 1920x1080: /dev/video0: not enough USB bandwidth: try a smaller -size, or one camera fewer on this port"
		if s.Size != small || s.Refused != want {
			t.Errorf("got size %s, refused %q; want %s, %q", s.Size, s.Refused, small, want)
		}
		if err := b.supervisor.apply(settingsChange{Size: &small}); err != nil {
			t.Fatal(err)
		}
		if got := b.supervisor.settings().Refused; got != "" {
			t.Errorf("after another change %q is still said to be refused", got)
		}
	})
}

// A camera with an infrared or depth node in front shows the colour one.
func TestBoardColourFirst(t *testing.T) {
	infrared, colour := webcam("Hello", "usb-1"), webcam("Hello", "usb-1")
	infrared.Formats = []string{"GREY", "Y16"}
	onBoard(t, "auto", board{"/dev/video0": infrared, "/dev/video2": colour}, func(b *boardTest) {
		time.Sleep(time.Second)
		b.wantState(modeLive, "/dev/video2", "")
	})
}

// The media controller tells what a node is fed from.
func TestBoardMedia(t *testing.T) {
	const sensor, processor = 0x20001, 0x4002 // MEDIA_ENT_F_CAM_SENSOR, …_PROC_VIDEO_PIXEL_FORMATTER
	for _, test := range []struct {
		name   string
		source uint32 // the function of what is at the beginning
		want   bool
	}{
		{"camera", sensor, false},
		{"receiver with nothing connected", 0, false},
		{"processor", uapi.MEDIA_ENT_F_IO_V4L, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := &v4l2.Topology{
				Entities:   []uapi.MediaEntity{{ID: 1, Function: uapi.MEDIA_ENT_F_IO_V4L}, {ID: 2, Function: processor}, {ID: 3, Function: test.source}},
				Pads:       []uapi.MediaPad{{ID: 11, EntityID: 1}, {ID: 12, EntityID: 2}, {ID: 13, EntityID: 2}, {ID: 14, EntityID: 3}},
				Links:      []uapi.MediaLink{{SourceID: 13, SinkID: 11}, {SourceID: 14, SinkID: 12}, {SourceID: 21, SinkID: 1}},
				Interfaces: []uapi.MediaInterface{{ID: 21, Major: 81, Minor: 5}},
			}
			if test.source == 0 {
				g.Links = g.Links[2:]
			}
			b := v4l2test.NewBoard(board{"/dev/media0": v4l2test.NewCamera(), "/dev/media1": {Media: g}, "/dev/video5": deadNode()})
			if got := v4l2.QueryNodes(b)[0].FedFromMemory; got != test.want {
				t.Errorf("fed from memory: got %v, want %v", got, test.want)
			}
			_, err := findNodes(b, settings{camera: "auto"})
			if got := err != nil; got != test.want {
				t.Errorf("left out: got %v (%v), want %v", got, err, test.want)
			}
		})
	}
}

// Each request that drivers may refuse costs what it was for, and is told once.
func TestV4L2Refused(t *testing.T) {
	for _, test := range []struct {
		call   string
		errs   []error
		want   string // of the camera's description
		remark string // "" for none
	}{
		{"G_PARM", []error{unix.EINVAL, unix.ENOTTY}, "MJPG", ""},
		{"G_PARM", []error{unix.EBUSY, unix.EIO}, "MJPG", "its frame rate is not known: ioctl(VIDIOC_G_PARM)"},
		{"S_PARM", []error{unix.EINVAL, unix.ENOTTY, unix.EBUSY, unix.EIO}, "MJPG at 25 fps", "its frame rate stays as it is: ioctl(VIDIOC_S_PARM)"},
		{"ENUM_FMT", []error{unix.ENOTTY, unix.EIO}, "MJPG at 30 fps", "it does not tell all its formats: ioctl(VIDIOC_ENUM_FMT)"},
		{"G_INPUT", []error{unix.ENOTTY, unix.EINVAL}, "MJPG at 30 fps", ""},
		{"S_INPUT", []error{unix.EBUSY, unix.EPERM}, "MJPG at 30 fps", "its input stays as it is: ioctl(VIDIOC_S_INPUT)"},
		{"QUERY_DV_TIMINGS", []error{unix.EIO, unix.EBUSY, unix.EPERM}, "MJPG at 30 fps", "it goes on with the HDMI signal that it had before: ioctl(VIDIOC_QUERY_DV_TIMINGS)"},
		{"SUBSCRIBE_EVENT", []error{unix.EPERM, unix.EINVAL}, "MJPG at 30 fps", ""},
	} {
		for _, err := range test.errs {
			t.Run(fmt.Sprint(test.call, " ", err), func(t *testing.T) {
				k := v4l2test.NewCamera()
				k.Show(picture1)
				k.Fail = v4l2test.FailAt(test.call, err)
				c := openFake(t, k)
				if _, err := captureOne(c); err != nil {
					t.Error(err)
				}
				if got := c.Info().String(); !strings.HasSuffix(got, " "+test.want) {
					t.Errorf("got %s, want %s", got, test.want)
				}
				var remarks []string
				c.setLog(func(line string) { remarks = append(remarks, line) })
				if got := strings.Join(remarks, "; "); test.remark == "" && got != "" || !strings.HasPrefix(got, strings.TrimSuffix(fakePath+": "+test.remark, ": ")) && got != "" {
					t.Errorf("got remarks %q, want %q", got, test.remark)
				}
				if test.remark != "" && len(remarks) != 1 {
					t.Errorf("got remarks %q, want one", remarks)
				}
			})
		}
	}
}

// When a format or a size is refused that the driver has listed, another is taken.
func TestV4L2FormatRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		refuse func(pix *uapi.PixFormat) bool
		want   string // or the error
	}{
		{"MJPG", func(pix *uapi.PixFormat) bool { return pix.PixelFormat == fourCC("MJPG") }, "640x480 YUYV at 30 fps, encoded by porthole"},
		{"a size", func(pix *uapi.PixFormat) bool { return pix.Width == 640 }, "800x600 MJPG at 30 fps"},
		{"all sizes but the one that is set", func(pix *uapi.PixFormat) bool { return pix.Width != 176 }, "176x144 MJPG at 30 fps"},
		{"all", func(pix *uapi.PixFormat) bool { return true }, "ioctl(VIDIOC_S_FMT): invalid argument"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Pix = uapi.PixFormat{Width: 176, Height: 144}
			k.Sizes = [][2]uint32{{640, 480}, {800, 600}, {1280, 720}}
			k.Refuse = test.refuse
			want := smallSize
			want.width, want.height = 640, 480
			c, err := openNode(k, fakePath, want)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = c.Info().String()
				c.Close()
			}
			if !strings.HasSuffix(got, ": "+test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
			k.CheckReleased(t)
		})
	}
}

// Lists that never end are cut short.
func TestV4L2EndlessLists(t *testing.T) {
	k := v4l2test.NewCamera()
	k.EndlessLists = true
	c := openFake(t, k)
	c.choices()
	if n := len(k.Calls); n > 5000 {
		t.Errorf("%d calls, want an end", n)
	}
}
