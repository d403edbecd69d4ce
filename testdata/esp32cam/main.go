// Esp32cam stands in for an ESP32-CAM with its example program CameraWebServer:
//
//	go run ./testdata/esp32cam -listen 127.0.0.1:8181 static/1.jpg static/2.jpg static/3.jpg
//
// It sends the pictures in turn at /stream, 15 a second, to one viewer. Another one gets 503. The
// answer has chunks, three for each picture, as there. Each picture has a comment with the time in
// microseconds since 1970. It prints a line for each viewer that comes, goes or is refused.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

const boundary = "123456789000000000000987654321"

func main() {
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	listen := flag.String("listen", "127.0.0.1:8181", "address")
	fps := flag.Float64("fps", 15, "pictures a second")
	flag.Parse()
	c := &camera{interval: time.Duration(float64(time.Second) / *fps)}
	for _, path := range flag.Args() {
		picture, err := os.ReadFile(path)
		if err != nil {
			log.Fatal(err)
		}
		c.pictures = append(c.pictures, picture)
	}
	if len(c.pictures) == 0 {
		log.Fatal("usage: esp32cam PICTURE...")
	}
	http.HandleFunc("GET /stream", c.serve)
	log.Fatal(http.ListenAndServe(*listen, nil))
}

type camera struct {
	pictures [][]byte
	interval time.Duration
	viewer   sync.Mutex // held by the one that watches
}

// serve sends pictures to the one viewer until it goes.
func (c *camera) serve(w http.ResponseWriter, r *http.Request) {
	if !c.viewer.TryLock() {
		log.Print("refused ", r.RemoteAddr)
		http.Error(w, "one viewer is enough", http.StatusServiceUnavailable)
		return
	}
	defer c.viewer.Unlock()
	log.Print("came ", r.RemoteAddr)
	defer log.Print("gone ", r.RemoteAddr)
	w.Header().Set("Content-Type", "multipart/x-mixed-replace;boundary="+boundary)
	ticker := time.NewTicker(c.interval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if err := send(w, stamp(c.pictures[n%len(c.pictures)], time.Now())); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// send sends a picture.
func send(w http.ResponseWriter, picture []byte) error {
	now := time.Now()
	chunks := []string{
		"\r\n--" + boundary + "\r\n",
		fmt.Sprintf("Content-Type: image/jpeg\r\nContent-Length: %d\r\nX-Timestamp: %d.%06d\r\n\r\n", len(picture), now.Unix(), now.Nanosecond()/1000),
		string(picture),
	}
	for _, chunk := range chunks {
		if _, err := w.Write([]byte(chunk)); err != nil {
			return err
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
	}
	return nil
}

// stamp returns a picture with a comment behind its start (FF D8): FF FE, the length of the
// segment, and the time.
func stamp(picture []byte, at time.Time) []byte {
	text := fmt.Sprint(at.UnixMicro())
	stamped := append([]byte{}, picture[:2]...)
	stamped = append(stamped, 0xff, 0xfe, 0, byte(2+len(text)))
	stamped = append(stamped, text...)
	return append(stamped, picture[2:]...)
}
