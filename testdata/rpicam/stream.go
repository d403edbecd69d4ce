package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"porthole/testdata/rpicam/card"
)

var errWrite = errors.New("failed to write output bytes")

// stream opens a camera and writes its frames until something ends that.
func (e *environment) stream(begun time.Time, modules []module, s settings, out, log io.Writer) error {
	if len(modules) == 0 {
		return errors.New("no cameras available")
	}
	if s.camera >= len(modules) {
		return errors.New("selected camera is not available")
	}
	c := modules[s.camera]
	logLine(log, "INFO Camera camera_manager.cpp:340 libcamera %s", builds[newest].libcamera)
	if c.busy {
		logLine(log, "INFO Camera camera.cpp:1008 Pipeline handler in use by another process")
		return errors.New("failed to acquire camera " + c.id)
	}
	r := newRequest(e.version, s)
	scores := log
	if !e.version.since(bookworm) || s.noRaw {
		scores = io.Discard
	}
	m := c.choose(r, scores)
	if err := e.allocate(m, s, log); err != nil {
		return err
	}
	logLine(log, "INFO Camera camera.cpp:1215 configuring streams: (0) %dx%d-YUV420", s.width, s.height)
	p := newPictures(s, m.seen(c.sensor, s))
	if p == nil {
		exitOn(fmt.Errorf("codec %s is not made up for", s.codec))
	}
	out, err := openOutput(s.output, out)
	if err != nil {
		return err
	}
	if s.framerate == 0 {
		s.framerate = 30
	}
	interval := time.Duration(float64(time.Second) / min(s.framerate, m.fps))
	time.Sleep(e.startTime - time.Since(begun))
	return e.loop(p, interval, s, out, log)
}

// logLine writes a line as libcamera does: behind the time since the start of the system,
// and the process.
func logLine(log io.Writer, format string, args ...any) {
	fmt.Fprintf(log, "[0:24:11.415660787] [%d]  %s\n", os.Getpid(), fmt.Sprintf(format, args...))
}

// openOutput returns where frames go: nowhere, if no output is asked for.
func openOutput(name string, stdout io.Writer) (io.Writer, error) {
	switch name {
	case "":
		return io.Discard, nil
	case "-":
		return stdout, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, errors.New("failed to open output file " + name)
	}
	return f, nil
}

// allocate takes memory for all buffers: pictures, and what the sensor sends unless that
// is not wanted.
func (e *environment) allocate(m mode, s settings, log io.Writer) error {
	size := stride(s.width) * s.height * 3 / 2
	if !s.noRaw {
		size += m.width * m.height * m.bits / 8
	}
	if e.fault != "nomemory" || s.buffers*size <= e.faultCount<<20 {
		return nil
	}
	if e.version.since(dmaHeaps) {
		fmt.Fprintln(os.Stderr, "dmaHeap allocation failure for rpicam-apps0")
		return errors.New("failed to allocate capture buffers for stream")
	}
	logLine(log, "ERROR V4L2 v4l2_videodevice.cpp:1241 /dev/video14[16:cap]: Unable to request %d buffers: Cannot allocate memory", s.buffers)
	return errors.New("failed to allocate capture buffers")
}

// loop writes frames at the time of each. A frame is lost when the one before took longer
// than that to write.
func (e *environment) loop(p *pictures, interval time.Duration, s settings, out, log io.Writer) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	begun := time.Now()
	for frame := 0; ; frame = max(frame+1, int(time.Since(begun)/interval)) {
		time.Sleep(time.Until(begun.Add(time.Duration(frame) * interval)))
		switch {
		case len(interrupted) > 0, s.frames > 0 && frame >= s.frames:
			return nil
		case s.frames == 0 && s.timeout > 0 && time.Since(begun) > s.timeout:
			fmt.Fprintf(log, "Halting: reached timeout of %d milliseconds.\n", s.timeout.Milliseconds())
			return nil
		case e.fault == "stall" && frame >= e.faultCount:
			stall(log)
		case e.fault == "die-after" && frame >= e.faultCount:
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		picture := p.frame(frame, frame >= e.settle)
		switch {
		case e.fault == "torn" && frame == e.faultCount:
			picture = picture[:len(picture)/3]
		case e.fault == "padded":
			picture = append(picture[:len(picture):len(picture)], make([]byte, len(picture)/10)...)
		}
		if _, err := out.Write(picture); err != nil {
			return errWrite
		}
	}
}

// stall does what the program does when no frames come.
func stall(log io.Writer) {
	for {
		time.Sleep(time.Second)
		logLine(log, "WARN V4L2 v4l2_videodevice.cpp:2150 /dev/video0[12:cap]: Dequeue timer of 1000000.00us has expired!")
		logLine(log, "ERROR RPI pipeline_base.cpp:1357 Camera frontend has timed out!")
		fmt.Fprintln(os.Stderr, "ERROR: Device timeout detected, attempting a restart!!!")
	}
}

// pictures are what is written. A Pi Zero can encode about five a second, of 640x480, so
// there are few, and each is made when it is first needed.
type pictures struct {
	encode          func(*image.YCbCr) []byte
	settled, dark   *image.YCbCr
	encoded         map[int][]byte // by number
	encodedWhenDark map[int][]byte
}

// newPictures returns what a codec makes of the part of the card that is seen; nil if we
// have no such codec.
func newPictures(s settings, w card.Window) *pictures {
	p := &pictures{encoded: make(map[int][]byte), encodedWhenDark: make(map[int][]byte)}
	switch s.codec {
	case "mjpeg":
		p.encode = func(m *image.YCbCr) []byte { return encodeJPEG(m, s.quality) }
	case "yuv420":
		p.encode = encodeYUV420
	default:
		return nil
	}
	p.settled = card.Draw(s.width, s.height, w)
	return p
}

// frame returns the picture of a frame.
func (p *pictures) frame(frame int, settled bool) []byte {
	m, encoded, number := p.settled, p.encoded, frame%card.Numbers
	if !settled {
		m, encoded = p.darkened(), p.encodedWhenDark
	}
	if encoded[number] == nil {
		card.Mark(m, number, settled)
		encoded[number] = p.encode(m)
	}
	return encoded[number]
}

// darkened returns the picture as it is before exposure has settled.
func (p *pictures) darkened() *image.YCbCr {
	if p.dark == nil {
		dark := *p.settled
		dark.Y = bytes.Clone(dark.Y)
		card.Darken(&dark)
		p.dark = &dark
	}
	return p.dark
}

func encodeJPEG(m *image.YCbCr, quality int) []byte {
	var b bytes.Buffer
	jpeg.Encode(&b, m, &jpeg.Options{Quality: min(max(quality, 1), 100)}) // to memory: no error
	return b.Bytes()
}

// stride returns the length of a row in memory.
func stride(width int) int { return (width + 63) &^ 63 }

// encodeYUV420 lays a picture out as it lies in a buffer: Y, and then U and V with half the
// rows and half the stride. There is no header.
func encodeYUV420(m *image.YCbCr) []byte {
	width, height := m.Rect.Dx(), m.Rect.Dy()
	n := stride(width)
	b := make([]byte, n*height*3/2)
	for y := range height {
		copy(b[y*n:], m.Y[y*m.YStride:][:width])
	}
	u, v := b[n*height:], b[n*height*5/4:]
	for y := range height / 2 {
		copy(u[y*n/2:], m.Cb[y*m.CStride:][:width/2])
		copy(v[y*n/2:], m.Cr[y*m.CStride:][:width/2])
	}
	return b
}
