//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"image/jpeg"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// listParts lists what is in a stream, until it ends.
func listParts(w io.Writer, stream io.Reader, directory string) error {
	r := bufio.NewReader(stream)
	seen := make(map[uint32]bool)
	for {
		captured, picture, err := readPart(r)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil // the last part is half there, mostly
		}
		if err != nil {
			return err
		}
		arrived := float64(time.Now().UnixMicro()) / 1e6
		sum := crc32.ChecksumIEEE(picture)
		file := fmt.Sprintf("%08x.jpg", sum)
		if !seen[sum] {
			seen[sum] = true
			if err := os.WriteFile(filepath.Join(directory, file), picture, 0o666); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "%.3f %s %s\n", arrived, captured, file)
	}
}

// readPart reads a part: its header, the JPEG, and before them a boundary.
func readPart(r *bufio.Reader) (captured string, picture []byte, err error) {
	lines := textproto.NewReader(r)
	for line := ""; line != "--frame"; {
		if line, err = lines.ReadLine(); err != nil {
			return "", nil, err
		}
	}
	header, err := lines.ReadMIMEHeader()
	if err != nil {
		return "", nil, err
	}
	length, err := strconv.Atoi(header.Get("Content-Length"))
	if err != nil {
		return "", nil, err
	}
	picture = make([]byte, length)
	_, err = io.ReadFull(r, picture)
	return header.Get("X-Timestamp"), picture, err
}

// show prints what the pictures in some files show.
func show(w io.Writer, files []string) error {
	for _, file := range files {
		picture, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, filepath.Base(file), describe(picture))
	}
	return nil
}

func describe(picture []byte) string {
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		return "damaged"
	}
	if number, ok := readNumber(m); ok {
		return fmt.Sprintf("camera %d %dx%d", number, m.Bounds().Dx(), m.Bounds().Dy())
	}
	return "other"
}
