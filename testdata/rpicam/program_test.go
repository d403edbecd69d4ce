package main

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"porthole/testdata/rpicam/card"
)

// The test program runs itself as the stand-in.
func TestMain(m *testing.M) {
	if os.Getenv("RPICAM_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command returns a start of the stand-in, in an environment, with arguments.
func command(t *testing.T, environment []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = slices.Concat(os.Environ(), []string{"RPICAM_TEST_MAIN=1"}, environment)
	return cmd
}

// run returns what it writes and says, and its status.
func run(t *testing.T, environment []string, args ...string) (out, log string, status int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := command(t, environment, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

func env(assignments ...string) []string { return assignments }

// mjpeg are the arguments with which porthole starts it.
func mjpeg(more ...string) []string {
	return append([]string{"-t", "0", "-n", "--verbose=0", "--codec", "mjpeg", "-q", "80", "--flush", "-o", "-"}, more...)
}

// readFrames reads JPEGs that stand one behind the other.
func readFrames(t *testing.T, stream string) (frames []card.Frame, size image.Point) {
	t.Helper()
	for len(stream) > 0 {
		end := strings.Index(stream, "\xff\xd9") // in no entropy-coded data
		if end < 0 {
			t.Fatal("a picture has no end")
		}
		m, err := jpeg.Decode(strings.NewReader(stream[:end+2]))
		if err != nil {
			t.Fatal(err)
		}
		f, ok := card.Read(m)
		if !ok {
			t.Fatal("a picture is not the card")
		}
		frames, size, stream = append(frames, f), m.Bounds().Size(), stream[end+2:]
	}
	return frames, size
}

// The program shows what the mode sees that it chooses, cut to the picture's shape. The
// corners of the card are visible where the mode reads the whole sensor and the shapes are
// the same.
func TestSees(t *testing.T) {
	for _, test := range []struct {
		name, camera string
		args         []string
		want         card.Window
	}{
		{"module 3 at 640x480, from its smallest mode", "imx708", nil, card.Window{Left: 0.25, Top: 1. / 6, Right: 0.75, Bottom: 5. / 6}},
		{"module 3, corners", "imx708", []string{"--width=1280", "--height=720", "--mode=2304:1296:10:P"}, card.Whole},
		{"module 3, sides cut", "imx708", []string{"--mode=2304:1296:10:P"}, card.Window{Left: 0.125, Top: 0, Right: 0.875, Bottom: 1}},
		{"module 2 at 640x480, from its smallest mode", "imx219", nil, card.Window{Left: 0.305, Top: 0.305, Right: 0.695, Bottom: 0.695}},
		{"module 2, corners", "imx219", []string{"--mode=1640:1232:10:P"}, card.Whole},
		{"module 2, 16:9", "imx219", []string{"--mode=1640:1232:10:P", "--width=640", "--height=360"}, card.Window{Left: 0, Top: 0.126, Right: 1, Bottom: 0.874}},
		{"HQ camera, corners without being asked for", "imx477", nil, card.Whole},
		{"module 1, almost", "ov5647", nil, card.Window{Left: 0.006, Top: 0, Right: 0.994, Bottom: 0.988}},
		{"turned", "imx477", []string{"--rotation=180"}, card.Window{Left: 1, Top: 1, Right: 0, Bottom: 0}},
		{"mirrored", "imx477", []string{"--hflip"}, card.Window{Left: 1, Top: 0, Right: 0, Bottom: 1}},
		{"mirrored and turned", "imx477", []string{"--hflip", "--rotation", "180"}, card.Window{Left: 0, Top: 1, Right: 1, Bottom: 0}},
		{"a region, stretched", "imx477", []string{"--roi=0.25,0.5,0.5,0.25"}, card.Window{Left: 0.25, Top: 0.5, Right: 0.75, Bottom: 0.75}},
		{"without raw frames the mode does not count", "imx219", []string{"--mode=1640:1232:10:P", "--no-raw"}, card.Window{Left: 0.305, Top: 0.305, Right: 0.695, Bottom: 0.695}},
		{"a mode that is too slow is not taken", "imx708", []string{"--mode=4608:2592:10:P", "--width=1280", "--height=720", "--framerate=30"}, card.Whole},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, log, status := run(t, env("RPICAM_CAMERAS="+test.camera), mjpeg(append(test.args, "--frames=1")...)...)
			frames, _ := readFrames(t, out)
			if status != 0 || log != "" || len(frames) != 1 || !frames[0].Window.Near(test.want, 0.02) {
				t.Errorf("got %+v, status %d, %s\nwant %+v", frames, status, log, test.want)
			}
		})
	}
}

// Frames are numbered, come at the asked rate, and are dark at first.
func TestFrames(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	out, _, status := run(t, env("RPICAM_CAMERAS=imx477", "RPICAM_START=1s", "RPICAM_SETTLE=3"),
		mjpeg("--width", "321", "--height", "241", "--framerate", "10", "--frames", "11")...)
	took := time.Since(begun)
	frames, size := readFrames(t, out)
	if status != 0 || len(frames) < 8 || len(frames) > 11 || size != image.Pt(320, 240) {
		t.Fatalf("got %d frames of %v, status %d", len(frames), size, status)
	}
	for i, f := range frames {
		if i > 0 && f.Number == frames[i-1].Number {
			t.Errorf("frames %d and %d have the same number", i-1, i)
		}
	}
	if frames[0].Settled || !frames[len(frames)-1].Settled {
		t.Errorf("settled from the first on, or not at the end: %+v", frames)
	}
	if took < 1900*time.Millisecond || took > 10*time.Second {
		t.Errorf("took %v, want 2 s", took)
	}
}

// Raw frames have padded rows.
func TestYUV420(t *testing.T) {
	t.Parallel()
	out, _, status := run(t, env("RPICAM_CAMERAS=imx477"), "-n", "-v0", "--codec=yuv420", "--width=400", "--height=304", "--frames=1", "-o-")
	const stride = 448
	if status != 0 || len(out) != stride*304*3/2 {
		t.Fatalf("got %d bytes, status %d", len(out), status)
	}
	b := []byte(out)
	m := &image.YCbCr{Y: b, Cb: b[stride*304:], Cr: b[stride*304*5/4:], YStride: stride, CStride: stride / 2,
		SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, 400, 304)}
	if f, ok := card.Read(m); !ok || !f.Settled || !f.Window.Near(card.Window{Left: 0, Top: 0, Right: 1, Bottom: 1}, 0.02) {
		t.Errorf("got %+v, %v", f, ok)
	}
}

// What fails is told in the words of the program, with its status.
func TestFailures(t *testing.T) {
	const acquire = "ERROR: *** failed to acquire camera /base/soc/i2c0mux/i2c@1/imx708@1a ***\n"
	const heap = "dmaHeap allocation failure for rpicam-apps0\nERROR: *** failed to allocate capture buffers for stream ***\n"
	for _, test := range []struct {
		name        string
		environment []string
		args        []string
		log         string
	}{
		{"no camera", env("RPICAM_CAMERAS="), mjpeg(), "ERROR: *** no cameras available ***\n"},
		{"no second camera", nil, mjpeg("--camera", "1"), "ERROR: *** selected camera is not available ***\n"},
		{"busy", env("RPICAM_FAIL=busy"), mjpeg(), acquire},
		{"legacy", env("RPICAM_FAIL=legacy"), mjpeg(), errLegacy.Error() + "\n"},
		{"no memory", env("RPICAM_FAIL=nomemory"), mjpeg(), heap},
		{"no memory for six buffers", env("RPICAM_FAIL=nomemory 12"), mjpeg(), heap},
		{"no memory, before", env("RPICAM_FAIL=nomemory", "RPICAM_VERSION=1.2.1"), mjpeg(), "ERROR: *** failed to allocate capture buffers ***\n"},
		{"unknown option", nil, mjpeg("--no-such=1"), "ERROR: *** unrecognised option '--no-such=1' ***\n"},
		{"option of a later version", env("RPICAM_VERSION=1.2.1"), mjpeg("--no-raw"), "ERROR: *** unrecognised option '--no-raw' ***\n"},
		{"bad value", nil, mjpeg("--exposure", "dark"), "ERROR: *** Invalid exposure mode:dark ***\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, log, status := run(t, append(env("RPICAM_CAMERAS=imx708"), test.environment...), test.args...)
			if out != "" || log != test.log || status != failed {
				t.Errorf("got %d bytes, status %d: %s\nwant %s", len(out), status, log, test.log)
			}
		})
	}
	if _, log, status := run(t, env("RPICAM_CAMERAS=imx708", "RPICAM_FAIL=nomemory 12"), mjpeg("--buffer-count=3", "--frames=1")...); status != 0 {
		t.Errorf("three buffers: %s", log)
	}
}

// A camera that another process has is in use.
func TestLock(t *testing.T) {
	t.Parallel()
	environment := env("RPICAM_CAMERAS=imx477", "RPICAM_LOCK="+filepath.Join(t.TempDir(), "camera"))
	first := start(t, environment, mjpeg()...)
	if _, log, status := run(t, environment, mjpeg("--frames=1")...); status != failed || !strings.Contains(log, "failed to acquire") {
		t.Errorf("got status %d: %s", status, log)
	}
	first.Process.Kill()
	first.Wait()
	if _, log, status := run(t, environment, mjpeg("--frames=1")...); status != 0 {
		t.Errorf("after the first: got status %d: %s", status, log)
	}
}

// start starts it, and returns when it has written something.
func start(t *testing.T, environment []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, environment, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	return cmd
}

func TestSignals(t *testing.T) {
	for _, test := range []struct {
		signal syscall.Signal
		want   string
	}{
		{syscall.SIGINT, "exit status 0"},
		{syscall.SIGTERM, "signal: terminated"},
	} {
		cmd := start(t, env("RPICAM_CAMERAS=imx477"), mjpeg()...)
		if err := cmd.Process.Signal(test.signal); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if got := cmd.ProcessState.String(); got != test.want {
			t.Errorf("%v: got %s, want %s", test.signal, got, test.want)
		}
	}
}

// It ends when nobody reads.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	cmd := command(t, env("RPICAM_CAMERAS=imx477"), mjpeg()...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != aborted {
		t.Errorf("got %v, want status %d", cmd.ProcessState, aborted)
	}
}

func TestDiesAndStalls(t *testing.T) {
	t.Parallel()
	out, _, status := run(t, env("RPICAM_CAMERAS=imx477", "RPICAM_FAIL=die-after 2"), mjpeg()...)
	if frames, _ := readFrames(t, out); status != -1 || len(frames) < 1 || len(frames) > 2 {
		t.Errorf("died after %d frames, with status %d", len(frames), status)
	}
	cmd := start(t, env("RPICAM_CAMERAS=imx477", "RPICAM_FAIL=stall 1"), mjpeg()...)
	cmd.Process.Signal(syscall.SIGINT)
	time.Sleep(300 * time.Millisecond)
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("stalled, it ends on SIGINT: %v", err)
	}
}

func TestTornAndPadded(t *testing.T) {
	t.Parallel()
	const length = 640 * 480 * 3 / 2
	raw := []string{"-n", "-v0", "--codec=yuv420", "--width=640", "--height=480", "--framerate=10", "--frames=2", "-o-"}
	for fault, want := range map[string]int{"torn 1": length + length/3, "padded": 2 * (length + length/10)} {
		out, _, _ := run(t, env("RPICAM_CAMERAS=imx477", "RPICAM_FAIL="+fault), raw...)
		if len(out) != want {
			t.Errorf("%s: got %d bytes, want %d", fault, len(out), want)
		}
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "record")
	run(t, env("RPICAM_RECORD="+file), "--version")
	run(t, env("RPICAM_RECORD="+file), "--no-such", "option")
	got, err := os.ReadFile(file)
	if want := "--version\n--no-such option\n"; string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.jpg")
	run(t, env("RPICAM_CAMERAS=imx477", "RPICAM_SETTLE=1"), "-n", "-v0", "--codec=mjpeg", "--frames=1", "-o"+file)
	if err := os.WriteFile(filepath.Join(dir, "b.jpg"), []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, log, _ := run(t, nil, "show", file, filepath.Join(dir, "b.jpg"))
	if !strings.HasPrefix(out, "a.jpg card 0 dark ") || !strings.HasSuffix(out, " 100 100\nb.jpg damaged\n") {
		t.Errorf("got %s%s", out, log)
	}
}
