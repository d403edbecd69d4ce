//go:build linux && (arm || arm64)

package main

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"porthole/mjpeg"
)

// errTorn is about a raw picture of which only a part came.
const errTorn = mjpeg.Damage("it is cut off")

// errPadded is about a program whose pictures are longer than they should be: about every second
// seems to be cut off.
var errPadded = errors.New("its raw pictures do not have the length of their size")

// minTorn is how many torn pictures it takes for errPadded.
const minTorn = 4

// rawPictures are raw pictures of one length, one behind the other, with nothing in between. They
// are read straight into the memory of the encoder.
//
// Nothing in them tells where one begins. A program writes each at once and then waits for the
// next, so a pause inside a picture is the end of one that is too short, or of one that is too
// long and began before: what comes after the pause begins a picture.
type rawPictures struct {
	encoder *encoder
	format  mjpeg.RawFormat // as the pictures lie in the encoder's memory
	pause   time.Duration

	parts    [][]byte  // of the encoder's memory, that a picture is read into
	part, at int       // where the next byte goes to: of which part, and in that
	waiting  time.Time // since when nothing has come; zero: not yet
	sized    bool      // the pipe has room for a picture
	torn     bool      // a picture was cut off, of which next does not know yet

	whole, cutOff int // pictures
}

// rawPause returns how long a pause between pictures is at least. The program takes part of the
// interval to write one.
func rawPause(interval time.Duration) time.Duration { return min(interval/2, 100*time.Millisecond) }

// lay finds the parts of the encoder's memory: after another encoder took over it is elsewhere.
func (p *rawPictures) lay() (err error) {
	p.parts, err = p.format.Segments(p.encoder.memory)
	return err
}

func (p *rawPictures) fill(r io.Reader) error {
	if !p.sized {
		p.sized = true
		p.growPipe(r)
	}
	if p.waiting.IsZero() {
		p.waiting = time.Now()
	}
	part := p.parts[p.part][p.at:]
	n, err := r.Read(part)
	if n <= 0 {
		return err
	}
	if begun := p.part+p.at > 0; begun && time.Since(p.waiting) > p.pause {
		p.torn = true
		p.part, p.at = 0, copy(p.parts[0], part[:n])
	} else {
		p.at += n
	}
	p.waiting = time.Time{}
	if p.at == len(p.parts[p.part]) {
		p.part, p.at = p.part+1, 0
	}
	return err
}

// growPipe gives the pipe room for a picture, so that the program can write it at once: by default
// it has 64 KB (pipe(7)). The system may have a lower limit, with which it works too.
func (p *rawPictures) growPipe(r io.Reader) {
	length := 0
	for _, part := range p.parts {
		length += len(part)
	}
	file, ok := r.(*os.File)
	if !ok {
		return
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) {
		const most = 1 << 20 // fs.pipe-max-size, above which it takes a privilege
		unix.FcntlInt(fd, unix.F_SETPIPE_SZ, min(length, most))
	})
}

func (p *rawPictures) next() (bool, error) {
	switch {
	case p.torn:
		p.torn = false
		if p.cutOff++; p.cutOff >= minTorn && 2*p.cutOff >= p.whole {
			return false, errPadded
		}
		return false, errTorn
	case p.part < len(p.parts):
		return false, nil
	}
	p.whole++
	p.part, p.at = 0, 0
	return true, nil
}

func (p *rawPictures) appendJPEG(dst []byte) ([]byte, error) {
	board := p.encoder.board
	dst, err := p.encoder.AppendMemory(dst)
	if err == nil && p.encoder.board != board {
		err = p.lay()
	}
	return dst, err
}

func (p *rawPictures) restart() {
	*p = rawPictures{encoder: p.encoder, format: p.format, pause: p.pause, parts: p.parts}
}

func (p *rawPictures) close() error { return p.encoder.Close() }
