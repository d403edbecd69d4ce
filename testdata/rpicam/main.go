// Rpicam stands in for rpicam-vid, or libcamera-vid as it was named before October 2023:
// the program that reads the camera at the flat cable of a Raspberry Pi. Installed under
// one of these names it takes the arguments of the real program and does, as far as it
// matters to us, what a certain version of that does: see versions.go and options.go. What
// it shows is the card of the package card, cut as the real one cuts what it sees.
//
//	rpicam-vid [OPTION...]
//	rpicam show FILE...
//
// The second prints a line for each picture: the name of the file, and "card", the number
// of the frame, "settled" or "dark", and where the picture's left, top, right and bottom
// edges lie in percent of the sensor's field; or "other", or "damaged".
//
// The environment says what there is:
//
//	RPICAM_VERSION  which one it is, like "libcamera-apps 1.0.0" or 1.9; the newest that
//	                we know if not given. Builds before there were numbers are 0.0.
//	RPICAM_CAMERAS  the models, with commas between them: imx219, imx477, ov5647, imx708,
//	                imx708_wide, imx708_noir, imx708_wide_noir. None if empty.
//	RPICAM_LIST     how long --list-cameras takes, like 1s
//	RPICAM_START    how long it takes to the first frame, like 3s
//	RPICAM_SETTLE   how many frames are dark before exposure and focus have settled. It
//	                does not matter how long they take.
//	RPICAM_RECORD   a file that gets a line with the arguments of each start
//	RPICAM_LOCK     a file that stands for the camera: a process that runs at the same
//	                time finds it in use
//	RPICAM_FAIL     what goes wrong:
//	    busy           the camera is in use by another process. The list then has wrong
//	                   rates and crops, as the real one does.
//	    legacy         the firmware has the camera, and not libcamera
//	    nomemory [MB]  there is no contiguous memory, or only so much
//	    stall [N]      no more frames after N. The real program tries again for ever, and
//	                   does not end on SIGINT.
//	    die-after N    it gets killed after N frames
//	    torn N         of frame N, from 0 on, only a third is written
//	    padded         frames are a tenth longer than they should be
//
// It ends as the real one does: with status 255 and a line on standard error after a
// failure; with 0 on SIGINT; by SIGTERM; and with that of SIGABRT, 134, when nobody reads
// what it writes.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"porthole/testdata/rpicam/card"
)

func main() {
	begun := time.Now()
	if len(os.Args) > 1 && os.Args[1] == "show" {
		exitOn(show(os.Stdout, os.Args[2:]))
		return
	}
	e, err := newEnvironment(os.Getenv)
	exitOn(err)
	exitOn(e.record(os.Args[1:]))
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // make writing fail instead
	if err := e.run(begun, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		os.Exit(fail(err))
	}
}

// exitOn ends a program that is not used as intended.
func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "rpicam stand-in:", err)
		os.Exit(2)
	}
}

const (
	failed  = 255 // status after an error
	aborted = 128 + int(syscall.SIGABRT)
)

// errLegacy is what the program says before it does anything else.
var errLegacy = errors.New("ERROR: the system appears to be configured for the legacy camera stack")

// fail tells of an error and returns the status. The real program writes frames in a
// thread where nobody catches exceptions.
func fail(err error) (status int) {
	switch {
	case errors.Is(err, errWrite):
		fmt.Fprintf(os.Stderr, "terminate called after throwing an instance of 'std::runtime_error'\n  what():  %v\n", err)
		return aborted
	case err == errLegacy:
		fmt.Fprintln(os.Stderr, err)
	default:
		fmt.Fprintf(os.Stderr, "ERROR: *** %v ***\n", err)
	}
	return failed
}

// run is the program.
func (e *environment) run(begun time.Time, args []string, out, log io.Writer) error {
	if e.fault == "legacy" {
		return errLegacy
	}
	given, err := parseArguments(optionsOf(e.version), args)
	switch {
	case err != nil:
		return err
	case given.flag("help"):
		fmt.Fprintln(out, "Valid options are:")
		return nil
	case given.flag("version"):
		fmt.Fprint(out, e.version.text())
		return nil
	}
	s, err := newSettings(e.version, given)
	listing := given.flag("list-cameras")
	if err != nil && !listing { // the list comes first
		return err
	}
	modules, err := newModules(e.models, e.version, s)
	exitOn(err)
	busy := e.fault == "busy" || !e.lock()
	for i := range modules {
		modules[i].busy = busy
	}
	if listing {
		time.Sleep(e.listTime)
		list(out, e.version, modules, s.verbose)
		return nil
	}
	if s.verbose == 0 {
		log = io.Discard
	}
	return e.stream(begun, modules, s, out, log)
}

// show tells what pictures show.
func show(out io.Writer, names []string) error {
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, filepath.Base(name), describe(data))
	}
	return nil
}

func describe(data []byte) string {
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return "damaged"
	}
	f, ok := card.Read(m)
	if !ok {
		return "other"
	}
	exposure := "dark"
	if f.Settled {
		exposure = "settled"
	}
	w := f.Window
	return fmt.Sprintf("card %d %s %d %d %d %d", f.Number, exposure,
		percent(w.Left), percent(w.Top), percent(w.Right), percent(w.Bottom))
}

func percent(part float64) int { return int(math.Round(100 * part)) }

// record notes the arguments of a start.
func (e *environment) record(args []string) error {
	if e.recordFile == "" {
		return nil
	}
	f, err := os.OpenFile(e.recordFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, strings.Join(args, " "))
	return err
}
