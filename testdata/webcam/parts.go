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
)

// listParts reads a saved stream and prints what is in it.
func listParts(w io.Writer, file, directory string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	names := make(map[uint32]string) // of pictures, by checksum
	for {
		at, picture, err := readPart(r)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil // the last part is half there, mostly
		}
		if err != nil {
			return err
		}
		sum := crc32.ChecksumIEEE(picture)
		if names[sum] == "" {
			names[sum] = name(picture)
			path := filepath.Join(directory, fmt.Sprintf("%08x.jpg", sum))
			if err := os.WriteFile(path, picture, 0o666); err != nil {
				return err
			}
		}
		fmt.Fprintln(w, at, len(picture), names[sum])
	}
}

// readPart reads a part: its header, the JPEG, and before them a boundary.
func readPart(r *bufio.Reader) (at string, picture []byte, err error) {
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

// name says what a picture shows.
func name(picture []byte) string {
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		return "damaged"
	}
	if number, ok := readNumber(m); ok {
		return fmt.Sprintf("camera %d", number)
	}
	return "other"
}
