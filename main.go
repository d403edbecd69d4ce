// Command porthole shows the camera of a small Linux board as a live picture in
// any browser.
//
//	porthole [flags]
//
// Nothing needs to be configured. Run it, and open http://BOARD:5000/ in a
// browser, or give one of these addresses to a program that reads cameras:
//
//	/             the page
//	/stream       the live picture as Motion JPEG (multipart/x-mixed-replace);
//	              also /stream.mjpg, /video_feed and /?action=stream
//	/snapshot     one JPEG, captured after the request; ?size=max takes a larger one
//	              than the stream's; also /snapshot.jpg and /?action=snapshot
//	/state        what camera it is, who watches, how fast: JSON
//	/events       the same as server-sent events, when something changes and at
//	              most once a second; who reads them is no viewer
//	/frames.csv   a table of the frames, a row each as they arrive: number, time,
//	              bytes, and milliseconds since the row before
//	/settings     what can be set of the camera, and is: JSON. A POST of some of
//	              that, as JSON or as a form, changes it for all viewers
//	/metrics      the camera, the viewers, and what was refused, for Prometheus
//	/healthz      200 while all is well, else 503 and the reason
//
// The stream takes ?fps=5 to send at most 5 frames a second, but at least one every
// 25 s, and ?raw=1 to name its bytes application/octet-stream, for scripts in Safari. The
// table ends after ?n=100 rows. The metrics leave out how old frames are when they are sent,
// which would cost time for each frame and viewer. Porthole ignores a slash too many at the
// end of a path. An ?action= that it does not know gets 404.
//
// A snapshot takes ?max_age=500ms, or =500, to accept a picture that old. It waits for 5 s, or
// for two intervals of a slow camera. With ?size=max or ?size=1280x720 it has that size. If the
// stream has another, the camera is opened for this one picture, and then for the stream again,
// whose viewers keep the last picture meanwhile. While somebody watches, the stream goes on for
// 3 s at least until the next such picture. One is taken and sent at a time: requests for the
// same size share it, and others get 503.
//
// The camera is the one at the flat cable of a Raspberry Pi. The firmware makes pictures of
// it where its driver is loaded ("bm2835 mmal"); elsewhere rpicam-vid does, or
// libcamera-vid, its older name, if it is installed. With several, -camera pi:1 means one by
// its number and -camera pi:imx477 by its sensor. Without one it is the first V4L2
// capture device that gives a picture: a USB camera, any other that the kernel has a driver
// for, or a receiver of HDMI or analog television, which takes the signal that comes in.
// Porthole passes JPEG on as the camera makes it. It takes raw pictures, too (YUYV, YVYU, UYVY,
// VYUY, NV12, NV21, NV16, NV61, YU12, YV12, the same in several planes of memory, RGB3, BGR3,
// RGBP and GREY), and turns the black and white of television (16 and 235) into those of
// JPEGs. Damaged pictures are left out, counted in /state, and logged at most once a minute.
// Without a camera porthole plays three pictures of its own, until one is plugged in.
//
// -camera http://user:password@cam.lan/stream, or https://, takes the pictures of another camera
// that sends Motion JPEG, so that one which can feed a single viewer feeds many. If the answer is
// one JPEG, porthole asks for it at -fps, by default once a second. $CAMERA in place of -camera
// keeps the password out of lists of processes. Only that server gets it, and it is never shown,
// nor is the query of the URL. -size and -quality change nothing there. Names in .local may not be
// found: then use the IP address. An https:// server needs a certificate that the system trusts, or
// the one in the file $SSL_CERT_FILE.
//
// Raw pictures become JPEGs in an encoder of the board, if there is one (V4L2 memory-to-memory,
// found by its formats), or else in porthole. The log says who makes the JPEGs, and so does
// "encoder" in /state. If the board's encoder cannot be used, or fails or takes longer than 0.5 s
// later, porthole takes over with the same picture, until the camera is opened again. With an
// encoder of the board, rpicam-vid writes raw pictures, whose width is then a multiple of 64.
// Without one it makes the JPEGs, or porthole does if the processor has no SIMD, like that of a
// Pi Zero.
//
// Porthole opens the camera when the first viewer comes, and releases it some time after
// the last has gone. It tries a camera that is unplugged, busy or stuck again until it
// works. Viewers stay connected and see that it is lost. After two snapshots at most 150 s
// apart, the camera stays open for a quarter longer than the time between them.
//
// A camera that can run at 10 frames a second or more does, even if -fps is less. Then its exposure
// settles soon, and porthole leaves out the pictures that are too many. With -set, an exposure of
// more than 0.1 s lets a V4L2 camera run at -fps.
//
// -camera with a path under /dev/v4l/ means the one camera at that port, or with that
// serial number, and waits for it. /dev/video0 is whichever camera has the number. If that
// one comes back under another number, it is shown again, unless another camera has its
// name.
//
// Settings last until the program ends. Flags keep a setting after a restart. Only
// porthole's own page, also behind a proxy, and programs that are not browsers can change
// them. {"controls":{"brightness":140}} sets a control, {"fps":30} the nearest rate within
// 1 %, like 29.97, and {"reset":true} goes back to the flags and the camera's defaults.
//
// Controls have the names that v4l2-ctl prints. A second brightness is brightness_2, and a
// control whose label has no letters from a to z and no digits goes by its number, like
// control_980900. A value is a number, on or off, an entry of a menu by its number or its
// name, or the word default. Porthole checks all controls before it sets the first. If one
// is not there or cannot have its value, the camera is not opened, and the log, the page
// and /state say what is possible. Controls are set each time the camera is opened. With
// -fps of 10 or more, porthole also tells the camera not to take fewer pictures in the dark
// (exposure_dynamic_framerate=0, if it has that), and with less, that it may, unless -set says
// otherwise.
//
// -rotate turns pictures, -flip flips them before that, and so do rotate and flip of /settings. A
// camera does what it can do as a whole by its controls horizontal_flip and vertical_flip, unless
// -set sets one of them; they are 0 when it is closed. Raw pictures are turned while they are
// encoded. JPEGs that come from the camera get an Exif orientation, which most programs obey, in
// place of an Exif of their own. /state has the size as it is seen. -size, size in /settings and
// ?size= of a snapshot are the camera's, before it is turned.
//
// The camera that rpicam-vid reads has controls of these names, too. A change restarts the
// program, while viewers keep the last picture. Its control mode is the mode of the sensor,
// like 2304x1296: by default the smallest that sees everything, is fast enough and as large
// as the picture. The log says what is cut off if the picture has another shape.
//
// Every viewer gets the newest picture when its connection can take one, and none of the
// older ones. A slow viewer sees fewer pictures, not late ones. Over a slow WiFi or another
// slow interface of the board itself, pictures go one after the other, each at full speed.
// Viewers get equal time there, so that one near the board sees more pictures than one far
// off. Viewers on other interfaces do not wait for them. Clients that take nothing are dropped
// after 10 s, or when the pictures that they hold back take more than 16 MB, or a sixteenth of
// the board's memory if that is less.
//
// Without a password, porthole answers only to names that nobody else can have: IP addresses,
// localhost, names without a dot, or that end in .local, .lan, .home, .home.arpa or .internal, and
// the machine's own name with any domain. Other names get 421, or else any page that somebody in
// this network opens could have its name lead here, and watch. -allow-host allows one more. A
// proxy on the same machine may have any name.
//
// With -auth, everything but /healthz needs that user and password (HTTP Basic). Who has those of
// -auth-view may watch, and change nothing. After five wrong passwords from an address, it gets one
// answer a second to more of them. Without -tls-cert, passwords and pictures can be read on their
// way. SIGHUP loads the certificate and its key again, and viewers stay.
//
// Any page may show the picture. With -allow-origin, pages from there may read everything, and
// change nothing.
//
// Connections are limited too, by -max-clients and by how many files the process may open. When
// all are in use, a new one takes the place of the oldest that has no request.
//
// At a terminal the last line shows the state every second: frames per second from the
// camera, clients, what they get in MB/s, and the camera or what is wrong with it. Keys do
// something there: q quits, s saves a snapshot in the current directory, and ? lists the
// keys. Ctrl-Z, bg and fg work as usual. In the background, pictures go on and porthole
// leaves the terminal alone. Under init or systemd, with &, or when standard input, output
// or error is something other than the terminal, porthole only writes its log.
//
// Under systemd, porthole takes the sockets that it has opened (LISTEN_FDS) in place of -listen,
// tells when it is ready and how it is (sd_notify), and, if WatchdogSec is set, that it is alive:
// it is not while the driver of a camera does not return, or no connections are accepted. There,
// SIGHUP without a certificate does nothing.
//
// The flags are:
//
//	-listen address
//		where to listen: host:port, :port or unix:/path, a socket of mode 0660;
//		may be given several times (default :5000, or :8080 and up if that
//		is in use)
//	-camera camera
//		auto, pi (on ARM), pi:1 or pi:imx477 for one of several, v4l2,
//		emulated, a device like /dev/video0, or a URL like
//		http://cam.lan/stream
//		(default $CAMERA, or else auto)
//	-size WxH
//		about this size, in pixels; the camera has the last word
//		(default 640x480)
//	-rotate degrees
//		turn pictures clockwise: 0, 90, 180 or 270 (default 0)
//	-flip h|v
//		flip pictures, before they are turned: h, left and right change places;
//		v, top and bottom do
//	-fps rate
//		frames per second (default 30, or 1 from the emulated camera; all that
//		come from a stream over HTTP)
//	-quality percent
//		of the JPEGs made from raw pictures or by a Raspberry Pi, 1 to 100
//		(default 80)
//	-encoder who
//		who makes the JPEGs: auto (the camera, else an encoder of the board,
//		else porthole), or board or own, even if the camera could
//		(default auto)
//	-set name=value
//		set a control of the camera, like brightness=128; may be given
//		several times
//	-idle duration
//		release the camera when nobody has watched for so long; 0: never
//		(default 10s)
//	-max-clients number
//		viewers at a time (default 100)
//	-auth user:password
//		ask for them (default $PORTHOLE_AUTH, which lists of processes do not
//		show; programs that porthole starts do not get it)
//	-auth-view user:password
//		a second pair, for those who may watch and change nothing
//		(default $PORTHOLE_AUTH_VIEW)
//	-allow-origin origin
//		let pages from there read everything, like http://mainsail.local; *
//		for all pages; may be given several times
//	-tls-cert file, -tls-key file
//		the certificate for HTTPS, with those between it and the authority's,
//		and its key, as PEM
//	-allow-host name
//		answer to this name, too, like cam.example.com; may be given several
//		times
//	-version
//		print the version, the commit, Go's version and the platform, and exit
//	-install
//		make this program a service of systemd, OpenRC or init, with the other
//		flags, that runs now and at each start of the system (Linux, as root);
//		again: replace the program and the flags
//	-uninstall
//		stop and remove what -install has made
//
// Porthole goes on without a log when the log's reader goes away. It waits for an address of
// -listen that this machine does not have yet, or whose name is not known yet.
//
// The exit status is 0 after q, SIGINT or SIGTERM, 1 when something failed, and
// 2 when the flags are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	// Go on when nobody reads the log any more. signal.Ignore would also apply to the
	// programs that we start.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(ctx, thisHost, os.Args[1:], os.Stdout, os.Stderr))
}

// A host is what porthole asks of the system that it runs on, other than through Go's
// standard library.
type host struct {
	drivers []driver // of cameras, sorted by rank
	listen  listenFunc
	sockets socketCalls

	maxFiles int    // that this process may have open; 0: not known
	memory   uint64 // of the machine, in bytes; 0: not known

	// openConsole shows the status on the terminal and obeys its keys, of which one calls
	// quit, until ctx ends. Its goroutines count as background. The release that it
	// returns gives the terminal back. It is nil where that is not possible.
	openConsole func(ctx context.Context, background *sync.WaitGroup, v server, l *log.Logger, quit func()) (release func())

	// inherited returns the listening sockets that were opened for the program, if there are
	// any. reportService tells a service manager how it is, until ctx ends.
	inherited     func() ([]net.Listener, error)
	reportService func(ctx context.Context, v server, l *limitListener)

	// install does what -install or -uninstall says, with these arguments, and prints what it did.
	install func(ctx context.Context, args []string, o options, out io.Writer) error

	// dropUnusedPages takes out of memory what only the start needed; nil where that is
	// not possible.
	dropUnusedPages func()
}

// thisHost is the host that the program is built for. It is a variable because build tags
// decide which files there are: camera files, console.go and system_linux.go add to it in
// init. Nothing else changes it.
var thisHost = host{
	listen:        new(net.ListenConfig).Listen,
	inherited:     func() ([]net.Listener, error) { return nil, nil },
	reportService: func(context.Context, server, *limitListener) {},
	install: func(context.Context, []string, options, io.Writer) error {
		return errors.New("-install and -uninstall: there is nothing of that for this system, only for Linux")
	},
}

// run is the program. It returns the exit code: 0 after help and after a
// signal, 1 when something failed, 2 when the arguments are wrong.
func run(ctx context.Context, h host, args []string, stdout, stderr io.Writer) int {
	opts, usage, err := parseArgs(args, h.drivers)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "porthole:", err)
		return 2
	case opts.version:
		fmt.Fprintln(stdout, describeVersion())
		return 0
	case opts.install || opts.uninstall:
		if err := h.install(ctx, args, opts, stdout); err != nil {
			fmt.Fprintln(stderr, "porthole:", err)
			return 1
		}
		return 0
	}
	// With the default, 4 MB of garbage gather, more than everything else takes.
	debug.SetGCPercent(50)
	logger := log.New(stderr, "porthole: ", logFlags())
	if err := serve(ctx, h, opts, logger); err != nil {
		logger.Print(err)
		return 1
	}
	return 0
}

// logFlags leaves out the time of log lines where the journal adds its own.
func logFlags() int {
	if os.Getenv("JOURNAL_STREAM") != "" { // systemd.exec(5)
		return 0
	}
	return log.LstdFlags | log.Lmsgprefix
}

// serve listens and serves until ctx ends.
func serve(ctx context.Context, h host, o options, logger *log.Logger) error {
	cert, err := loadCertificate(o.tlsCert, o.tlsKey)
	if err != nil {
		return err
	}
	scheme := "http"
	if cert != nil {
		scheme = "https"
	}
	listeners, err := awaitListeners(ctx, h, o.listen, scheme, logger)
	if err != nil || len(listeners) == 0 {
		return err
	}
	s := newStream(o.maxClients, h.sockets)
	name, _ := os.Hostname() // "" if it has none
	a := newAccess(o.accessOptions, name, &s.refusals, logger)
	a.logOpen(listeners, logger)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.heldLimit = heldLimit(h.memory)
	s.panics.log = logger
	sv := newSupervisor(s, h.drivers, o.settings, o.idle, logger)
	sv.dropUnusedPages = h.dropUnusedPages
	var background sync.WaitGroup
	start := func(f func()) { background.Go(func() { s.panics.catch(f) }) }
	release := func() {}
	if h.openConsole != nil {
		release = h.openConsole(ctx, &background, server{s, sv}, logger, cancel)
	}
	defer release()
	background.Go(func() { sv.run(ctx) })
	background.Go(func() {
		for s.panics.catch(func() { s.repeat(ctx) }) != nil && sleep(ctx, retryInterval) {
		}
	})

	web := newWebServer(ctx, a.guard(newHandler(s, sv)), h.sockets, logger)
	start(func() {
		<-ctx.Done()
		s.close(closeGrace)
		short, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		web.Shutdown(short)
	})
	limited := newLimitListener(joinListeners(listeners), s, h.maxFiles, logger)
	start(func() { h.reportService(ctx, server{s, sv}, limited) })
	if cert != nil {
		start(func() { cert.reload(ctx, logger) })
	}
	err = limited.serve(web, cert)
	cancel()
	background.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newWebServer returns a server whose answers end when ctx does.
func newWebServer(ctx context.Context, handler http.Handler, sockets socketCalls, logger *log.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ErrorLog:          logger,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      clientTimeout, // until something is sent: see send
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       sockets.acceptConn,
	}
}
