package mjpeg_test

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"log"
	"os"
	"strings"

	"porthole/mjpeg"
)

// A camera has padded its picture with zeros.
func ExampleRepairer() {
	whole, err := os.ReadFile("../static/1.jpg")
	if err != nil {
		log.Fatal(err)
	}
	sent := append(bytes.Clone(whole), make([]byte, 1000)...)
	var repairer mjpeg.Repairer
	repaired, err := repairer.Append(nil, sent)
	fmt.Println(len(sent)-len(repaired), "bytes fewer, error", err)

	_, err = repairer.Append(nil, sent[:len(whole)/2])
	fmt.Println(err)
	// Output:
	// 1000 bytes fewer, error <nil>
	// damaged picture: it is cut off
}

// A grey picture of 64x48 becomes a JPEG. Programs that encode many pass the same buffer
// again and again: buf[:0].
func ExampleEncoder() {
	encoder, err := mjpeg.NewEncoder(mjpeg.RawFormat{PixelFormat: "GREY", Width: 64, Height: 48}, 80)
	if err != nil {
		log.Fatal(err)
	}
	raw := bytes.Repeat([]byte{128}, 64*48)
	var buf []byte
	buf, err = encoder.Append(buf[:0], raw)
	if err != nil {
		log.Fatal(err)
	}
	config, err := jpeg.DecodeConfig(bytes.NewReader(buf))
	fmt.Println(config.Width, config.Height, err)
	// Output:
	// 64 48 <nil>
}

// A program has written some text and two pictures.
func ExampleSplitter() {
	picture, err := os.ReadFile("../static/1.jpg")
	if err != nil {
		log.Fatal(err)
	}
	pipe := io.MultiReader(strings.NewReader("starting\n"), bytes.NewReader(picture), bytes.NewReader(picture))

	var splitter mjpeg.Splitter
	for {
		switch picture, err := splitter.Next(); {
		case errors.Is(err, mjpeg.ErrDamaged):
			fmt.Println(err)
		case err != nil:
			log.Fatal(err)
		case picture != nil:
			fmt.Println("a picture, from", picture[:2], "to", picture[len(picture)-2:])
		default:
			if err := splitter.Fill(pipe); err != nil {
				fmt.Println(err)
				return
			}
		}
	}
	// Output:
	// a picture, from [255 216] to [255 217]
	// a picture, from [255 216] to [255 217]
	// EOF
}
