package main

import (
	"io"

	"porthole/mjpeg"
)

// jpegPictures are JPEGs, one behind the other.
type jpegPictures struct {
	split   mjpeg.Splitter
	repair  mjpeg.Repairer
	newest  []byte
	nextErr error // that came behind the newest picture
}

func (p *jpegPictures) fill(r io.Reader) error { return p.split.Fill(r) }

// next returns an error behind a good picture the next time.
func (p *jpegPictures) next() (found bool, err error) {
	if err, p.nextErr = p.nextErr, nil; err != nil {
		return false, err
	}
	for p.newest = nil; ; {
		picture, err := p.split.Next()
		switch {
		case err != nil && p.newest != nil:
			p.nextErr = err
			return true, nil
		case picture == nil:
			return p.newest != nil, err
		}
		p.newest = picture
	}
}

func (p *jpegPictures) appendJPEG(dst []byte) ([]byte, error) { return p.repair.Append(dst, p.newest) }

func (p *jpegPictures) restart() { p.split, p.nextErr = mjpeg.Splitter{}, nil }

func (p *jpegPictures) close() error { return nil }
