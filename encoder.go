//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"porthole/mjpeg"
	"porthole/v4l2"
)

const (
	// encodeTimeout is how long the board's encoder may take for a picture before ours takes
	// over, and firstEncodeTimeout for the first: its firmware may have to start.
	encodeTimeout      = 500 * time.Millisecond
	firstEncodeTimeout = 2 * time.Second
)

// An encoder makes JPEGs of the raw pictures of a camera. The board's encoder does, if there is
// one, which costs the processor next to nothing, and else ours. Ours takes over when the
// board's fails, with the same picture, until the camera is opened again.
type encoder struct {
	own   *mjpeg.Encoder
	board *boardEncoder     // nil: ours does it
	name  *string           // who does it, in the camera's information
	log   func(line string) // logs that ours takes over

	memory [][]byte // for pictures that are not copied: that of the board's encoder, or ours
}

// Append appends a raw picture to dst as a JPEG: see [mjpeg.Encoder.Append].
func (e *encoder) Append(dst []byte, planes ...[]byte) ([]byte, error) {
	if e.board == nil {
		return e.own.Append(dst, planes...)
	}
	if err := e.board.copier.Copy(e.board.device.Planes(), planes); err != nil {
		return dst, err // the picture is no good
	}
	jpeg, err := e.board.encode(dst)
	if err != nil {
		e.giveUp(err)
		return e.own.Append(dst, planes...)
	}
	return jpeg, nil
}

// AppendMemory appends the picture that was put into e.memory to dst as a JPEG.
func (e *encoder) AppendMemory(dst []byte) ([]byte, error) {
	if e.board != nil {
		jpeg, err := e.board.encode(dst)
		if err == nil {
			return jpeg, nil
		}
		var ours [][]byte
		for _, plane := range e.memory {
			ours = append(ours, slices.Clone(plane))
		}
		e.memory = ours
		e.giveUp(err)
	}
	return e.own.Append(dst, e.memory...)
}

// giveUp leaves the encoding to ours, and closes the board's encoder, which can take seconds.
func (e *encoder) giveUp(why error) {
	board := e.board
	e.board = nil
	go func() {
		if p := catch(func() { board.device.Close() }); p != nil {
			e.log(p.report())
		}
	}()
	*e.name = encoderOurs
	e.log(fmt.Sprintf("%s: %v: %s encodes the pictures now", board.name, explainEncoder(why), encoderOurs))
}

// Close closes the board's encoder.
func (e *encoder) Close() error {
	if e.board == nil {
		return nil
	}
	return e.board.device.Close()
}

// A boardEncoder is an encoder of the board that is ready for pictures.
type boardEncoder struct {
	device *v4l2.Encoder
	name   string          // "bcm2835-codec /dev/video31"
	raw    mjpeg.RawFormat // as the pictures lie in its memory
	copier *mjpeg.Copier   // of a camera's pictures into that
	repair mjpeg.Repairer
	works  bool // it has made a picture
}

// encode appends the picture in the encoder's memory to dst as a JPEG.
func (b *boardEncoder) encode(dst []byte) ([]byte, error) {
	limit := encodeTimeout
	if !b.works {
		limit = firstEncodeTimeout
	}
	coded, err := b.device.Encode(limit)
	if err != nil {
		return dst, err
	}
	dst, err = b.repair.Append(dst, coded)
	if err != nil {
		return dst, fmt.Errorf("it does not make JPEGs: %w", err)
	}
	if width, height := b.repair.Size(); width != b.raw.Width || height != b.raw.Height {
		return dst, fmt.Errorf("it makes pictures of %dx%d instead of %dx%d", width, height, b.raw.Width, b.raw.Height)
	}
	b.works = true
	return dst, b.device.Release()
}

// boardEncoders lists the encoders of the board that may be used.
func boardEncoders(k v4l2.Kernel, want settings) []v4l2.EncoderNode {
	if want.encoder == encoderOwn {
		return nil
	}
	return v4l2.Encoders(k)
}

// encodable reports whether one of the encoders takes raw pictures of a format.
func encodable(encoders []v4l2.EncoderNode, format v4l2.FourCC) bool {
	return slices.ContainsFunc(encoders, func(n v4l2.EncoderNode) bool { return rawFormatOf(n, format) != 0 })
}

// rawFormatOf returns the format in which an encoder takes raw pictures of a format, or 0: the same,
// or the one that has other planes of memory.
func rawFormatOf(n v4l2.EncoderNode, format v4l2.FourCC) v4l2.FourCC {
	if slices.Contains(n.Raw, format) {
		return format
	}
	for _, raw := range n.Raw {
		if mjpeg.SameSamples(raw.String(), format.String()) {
			return raw
		}
	}
	return 0
}

// openBoardEncoder opens the first encoder that takes raw pictures of a camera. It returns nil if
// there is none, and an error if it cannot be used.
func openBoardEncoder(k v4l2.Kernel, encoders []v4l2.EncoderNode, raw mjpeg.RawFormat, quality int, fps float64) (*boardEncoder, error) {
	var errs []error
	for _, n := range encoders {
		format := rawFormatOf(n, v4l2.MakeFourCC(raw.PixelFormat))
		if format == 0 {
			continue
		}
		b, err := newBoardEncoder(k, n, format, raw, quality, fps)
		if err == nil {
			return b, nil
		}
		errs = append(errs, fmt.Errorf("%s %s: %w", printable(n.Driver), n.Path, explainEncoder(err)))
	}
	return nil, errors.Join(errs...)
}

func newBoardEncoder(k v4l2.Kernel, n v4l2.EncoderNode, format v4l2.FourCC, raw mjpeg.RawFormat, quality int, fps float64) (*boardEncoder, error) {
	device, err := v4l2.OpenEncoder(k, n, v4l2.EncoderConfig{
		PixelFormat: format, FrameSize: v4l2.FrameSize{Width: raw.Width, Height: raw.Height},
		Quality: quality, FPS: fps,
	})
	if err != nil {
		return nil, err
	}
	granted := device.Format()
	b := &boardEncoder{device: device, name: printable(n.Driver) + " " + n.Path}
	b.raw = mjpeg.RawFormat{
		PixelFormat: format.String(), Width: raw.Width, Height: raw.Height,
		Strides: [3]int(granted.BytesPerLine[:3]), Rows: granted.Height, Orientation: raw.Orientation,
	}
	b.repair.Orientation = max(raw.Orientation, 1) // in place of its own Exif, which may have a thumbnail
	if b.copier, err = mjpeg.NewCopier(raw, b.raw); err != nil {
		device.Close()
		return nil, err
	}
	return b, nil
}

// explainEncoder says what to do about an error of an encoder.
func explainEncoder(err error) error {
	switch {
	case errors.Is(err, unix.ENOMEM):
		return &advisedError{"no memory for its pictures: give it more (cma=96M in the kernel's command line), or try a smaller -size", err}
	case errors.Is(err, unix.ENODEV):
		return &advisedError{"it is gone", err}
	case errors.Is(err, unix.EBUSY):
		return &advisedError{"in use by another program", err}
	case errors.Is(err, fs.ErrPermission):
		return &advisedError{"permission denied: run as root or add this user to the group video", err}
	}
	return err
}
