package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cameraVariable is where -camera comes from if the flag is not given.
const cameraVariable = "CAMERA"

// options are the flags.
type options struct {
	settings
	accessOptions
	listen     []string
	idle       time.Duration
	maxClients int
	version    bool
	install    bool
	uninstall  bool
}

// parseArgs reads the flags. It also returns the text that explains them.
func parseArgs(args []string, drivers []driver) (o options, usage string, err error) {
	o.width, o.height = 640, 480
	var text strings.Builder
	text.WriteString("Usage: porthole [flags]\n\nShows the camera in any browser. No flag is needed.\n\n")
	flags := flag.NewFlagSet("porthole", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints errors, in a line of its own
	flags.Usage = func() {}
	flags.Func("listen", "`address` to listen on: host:port, :port or unix:/path; may be given several times (default :5000, or :8080 and up if that is in use)", o.parseListen)
	flags.StringVar(&o.camera, "camera", cmp.Or(os.Getenv(cameraVariable), "auto"), "`camera`: "+cameraChoice(drivers))
	flags.Func("size", "about this size, `WxH` in pixels; the camera has the last word (default 640x480)", o.parseSize)
	flags.Func("rotate", "turn pictures clockwise by so many `degrees`: 0, 90, 180 or 270 (default 0)", o.parseRotate)
	flags.Func("flip", "flip pictures, before they are turned: `h` (left and right change places) or v (top and bottom do)", o.parseFlip)
	flags.Float64Var(&o.fps, "fps", 0, "frames per second, a `rate` up to 240 (default 30, or 1 from the emulated camera; all of a stream over HTTP)")
	flags.IntVar(&o.quality, "quality", 80, "`percent` of quality, 1 to 100, of the JPEGs made from raw pictures or by a Raspberry Pi")
	flags.StringVar(&o.encoder, "encoder", encoderAuto, "`who` makes the JPEGs: auto (the camera, else an encoder of the board, else porthole), board or own")
	flags.Func("set", "set a control of the camera, `name=value` like brightness=128; may be given several times", o.parseSet)
	flags.DurationVar(&o.idle, "idle", 10*time.Second, "release the camera when nobody has watched for this `duration`; 0: never")
	flags.IntVar(&o.maxClients, "max-clients", 100, "`number` of viewers at a time")
	flags.Func("auth", "ask for this `user:password`; $PORTHOLE_AUTH is not seen by others on this machine", setPair(&o.auth))
	flags.Func("auth-view", "a second `user:password`, who may watch and change nothing; also $PORTHOLE_AUTH_VIEW", setPair(&o.authView))
	flags.Func("allow-origin", "let pages from this `origin`, like http://mainsail.local, read everything; * for all; may be given several times", o.parseAllowOrigin)
	flags.Func("allow-host", "answer to this `name`, too, like cam.example.com; may be given several times", o.parseAllowHost)
	flags.StringVar(&o.tlsCert, "tls-cert", "", "`file` with the certificate for HTTPS, and those between it and the authority's, as PEM; loaded again on SIGHUP")
	flags.StringVar(&o.tlsKey, "tls-key", "", "`file` with the key of -tls-cert, as PEM")
	flags.BoolVar(&o.version, "version", false, "print the version and exit")
	flags.BoolVar(&o.install, "install", false, "make this program a service, with the other flags, that runs now and at each start of the system")
	flags.BoolVar(&o.uninstall, "uninstall", false, "stop and remove what -install has made")
	flags.Lookup("camera").DefValue = "$CAMERA, or else auto" // it may have a password
	err = flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q: all settings are flags, see porthole -h", flags.Arg(0))
	}
	o.takeAuth()
	if err == nil {
		err = o.check(drivers)
	}
	flags.SetOutput(&text)
	flags.PrintDefaults()
	return o, text.String(), err
}

// check reports a flag that is out of range.
func (o *options) check(drivers []driver) error {
	if o.isURL() {
		if _, err := parseHTTP(o.camera); err != nil {
			return err
		}
	}
	switch {
	case !o.isCamera(drivers):
		return fmt.Errorf("-camera %s: must be %s", o.camera, cameraChoice(drivers))
	case !(o.fps >= 0 && o.fps <= maxRate):
		return fmt.Errorf("-fps %v: must be from 0 to %d", o.fps, maxRate)
	case o.quality < 1 || o.quality > 100:
		return fmt.Errorf("-quality %d: must be from 1 to 100", o.quality)
	case !slices.Contains([]string{encoderAuto, encoderBoard, encoderOwn}, o.encoder):
		return fmt.Errorf("-encoder %s: must be auto, board or own", o.encoder)
	case o.idle < 0:
		return fmt.Errorf("-idle %v: must not be negative", o.idle)
	case o.maxClients < 1:
		return fmt.Errorf("-max-clients %d: must be at least 1", o.maxClients)
	case o.install && o.uninstall:
		return errors.New("-install and -uninstall: there must be only one of them")
	}
	return o.accessOptions.check()
}

// isCamera reports whether -camera can be what it is.
func (o *options) isCamera(drivers []driver) bool {
	name, which := o.driver()
	return o.camera == "auto" || slices.ContainsFunc(drivers, func(d driver) bool {
		isName := name == d.name && (which == "" || d.several) && (d.choice == "" || o.isURL())
		return isName || o.device() != "" && d.devices != nil
	})
}

func (o *options) parseListen(address string) error {
	o.listen = append(o.listen, address)
	return nil
}

// parseSize reads a -size.
func (o *options) parseSize(text string) (err error) {
	o.width, o.height, err = parseSize(text)
	return err
}

// parseSize reads a size like "640x480".
func parseSize(text string) (width, height int, err error) {
	w, h, _ := strings.Cut(text, "x")
	width, err1 := strconv.Atoi(w)
	height, err2 := strconv.Atoi(h)
	if err1 != nil || err2 != nil || min(width, height) < 16 || max(width, height) > 16384 {
		return 0, 0, errors.New("must be a width and a height in pixels, like 640x480")
	}
	return width, height, nil
}

// parseSet reads a -set like "brightness=128". The camera decides which names and values
// there are.
func (o *options) parseSet(text string) error {
	name, value, _ := strings.Cut(text, "=")
	if name == "" || value == "" {
		return errors.New("must be a control and its value, like brightness=128")
	}
	o.set = append(o.set, controlSetting{name: name, value: value})
	return nil
}

// cameraChoice says in words what -camera can be.
func cameraChoice(drivers []driver) string {
	choice, devices := "auto", false
	for _, d := range drivers {
		choice += ", " + cmp.Or(d.choice, d.name)
		if d.several {
			choice += fmt.Sprintf(", %s:1 or %s:SENSOR for one of several", d.name, d.name)
		}
		devices = devices || d.devices != nil
	}
	if devices {
		choice += " or a device like /dev/video0"
	}
	return choice
}
