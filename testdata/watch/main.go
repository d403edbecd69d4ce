// Watch is a viewer of a stream that measures what others do to it, and to porthole:
//
//	go run ./testdata/watch -pid PID http://anna:hunter2@127.0.0.1:5000/stream wrk -c 100 -d 15s http://127.0.0.1:5000/state
//
// It watches for as long as the program runs that follows the address, or for 15 s without one. Then
// it prints the frames a second, the longest time between two of them, and the memory of the process
// PID in MB: before, the most meanwhile, at the end and 12 s later. It trusts any certificate.
package main

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"time"
)

const (
	quiet     = 15 * time.Second // the time without a program
	afterward = 12 * time.Second // until memory is looked at again: clients get 10 s
)

func main() {
	log.SetFlags(0)
	pid := flag.Int("pid", 0, "the process whose memory is shown")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: watch -pid PID URL [PROGRAM ARGUMENT...]")
	}
	next := open(flag.Arg(0))
	next() // the first frame has to wait for the camera
	before := memory(*pid)
	most := before
	ended := make(chan struct{})
	go func() {
		run(flag.Args()[1:])
		close(ended)
	}()
	start := time.Now()
	last, longest, frames := start, time.Duration(0), 0
	for running := true; running; frames++ {
		next()
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		most = max(most, memory(*pid))
		select {
		case <-ended:
			running = false
		default:
		}
	}
	rate := float64(frames) / time.Since(start).Seconds()
	end := memory(*pid)
	for pause := time.Now().Add(afterward); time.Now().Before(pause); {
		next()
	}
	fmt.Printf("%.1f frames a second, longest gap %d ms, memory %.1f, at most %.1f, at the end %.1f, later %.1f MB\n",
		rate, longest.Milliseconds(), before, most, end, memory(*pid))
}

// open requests a stream and returns what reads the next frame.
func open(url string) (next func()) {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	answer, err := client.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		log.Fatalf("%s: %s", url, answer.Status)
	}
	parts := multipart.NewReader(answer.Body, "frame")
	return func() {
		part, err := parts.NextPart()
		if err == nil {
			_, err = io.Copy(io.Discard, part)
		}
		if err != nil {
			log.Fatal("the stream ended: ", err)
		}
	}
}

// run runs a program, or waits without one. Attacks may fail: what they did is what counts.
func run(program []string) {
	if len(program) == 0 {
		time.Sleep(quiet)
		return
	}
	command := exec.Command(program[0], program[1:]...)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		log.Print(program[0], ": ", err)
	}
}

// memory returns the resident memory of a process in MB; 0 if that is not known.
func memory(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, field, _ := bytes.Cut(status, []byte("VmRSS:"))
	var kb float64
	fmt.Sscan(string(field), &kb)
	return kb / 1000
}
