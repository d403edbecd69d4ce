package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"porthole/mjpeg"
)

const (
	// httpStall is how long another camera may take from the connection to the first picture,
	// and from one to the next. What WiFi loses comes again after 0.2 to 7 s: TCP sends it a
	// sixth time then.
	httpStall = 10 * time.Second

	// httpBacklog is how much may wait in the kernel, in bytes: pictures that wait get old. By
	// default Linux lets it grow to 6 MB. It is also the most that is under way, which at
	// 20 ms there and back are 12 MB/s.
	httpBacklog = 256 << 10

	// sameAgain is how long the same picture is not taken again.
	sameAgain = 500 * time.Millisecond

	// maxHTTPHeader is more than any camera's header needs, in bytes, and maxRedirects how often
	// a camera may send us elsewhere.
	maxHTTPHeader = 64 << 10
	maxRedirects  = 5
)

func init() {
	register(driver{name: "http", choice: "a URL like http://cam.lan/stream", rank: 110, open: openHTTP})
}

// An httpCamera is another camera, or a program like porthole, that sends its pictures over HTTP:
// a stream of them (Motion JPEG), or one for each request.
//
// Of a stream it ignores where parts begin and end, their headers and lengths, and the boundary
// that the answer's header tells. Servers disagree about all of these: some have no lengths, or
// wrong ones, some put "--" into the name of the boundary, some write nothing in front of the
// first part or LF for CRLF. The structure of the JPEGs, which mjpeg.Splitter follows, says the
// same and cannot be wrong if the picture is right. Headers, which are text, have no FF D8. A
// picture is taken when its end (FF D9) has come, without the boundary, which some servers send
// only with the next picture.
type httpCamera struct {
	client http.Client
	url    *url.URL // without the user and the password
	user   *url.Userinfo
	label  string // the URL as it may be seen
	turn   turn
	fps    float64 // at which it is asked, if a picture comes alone
	stall  time.Duration
	due    func(at time.Time) bool // of a stream's pictures that are not, none is taken; nil: all are
	remark string                  // for the log

	ctx      context.Context // ends with the camera, or when it stalls
	cancel   context.CancelCauseFunc
	watchdog *time.Timer

	pictures jpegPictures
	body     io.ReadCloser // of the answer; nil without one
	single   bool          // it is one picture, and not a stream
	asked    time.Time     // when it was asked for
	readErr  error         // behind what was read
	at       time.Time     // of the last read
	taken    time.Time     // when the last picture was read that was taken
	sum      uint32        // of that

	mu            sync.Mutex // protects these
	info          cameraInfo
	width, height int // of its pictures; 0: not known
}

// isURL reports whether the wanted camera is another one over HTTP.
func (s settings) isURL() bool { return strings.Contains(s.camera, "://") }

// parseHTTP reads a -camera. An error does not repeat it, as there may be a password in it.
func parseHTTP(camera string) (*url.URL, error) {
	u, err := url.Parse(camera)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("-camera with a URL: must be like http://cam.lan/stream or http://user:password@cam.lan/stream, " +
			"with %40 for @, %2F for / and %3A for : in a password")
	}
	return u, nil
}

// openHTTP returns the camera. It connects when the first picture is wanted.
func openHTTP(_ string, want settings) (camera, error) {
	u, err := parseHTTP(want.camera)
	if err != nil {
		return nil, err
	}
	if len(want.set) > 0 {
		return nil, fmt.Errorf("-set %v: %s has controls of its own, which cannot be set here", want.set[0], u.Host)
	}
	c := &httpCamera{
		url: u, user: u.User, turn: want.turn,
		label: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), // a query may have a password
		fps:   cmp.Or(want.fps, 1),
		info:  cameraInfo{Name: u.Host, Driver: "http", Format: "JPEG", Encoder: encoderCamera},
	}
	u.User = nil
	c.stall = max(httpStall, stallAfter(interval(c.fps)))
	if o := want.turn.orientation(); o > 1 {
		c.pictures.repair.Orientation = o // else what the camera says is right
	}
	if want.width != 640 || want.height != 480 || want.quality != 80 {
		c.remark = u.Host + ": its pictures are taken as they come: -size and -quality change nothing"
	}
	c.client = http.Client{CheckRedirect: checkRedirect, Transport: &http.Transport{
		DialContext:            dialHTTP,
		DisableCompression:     true, // JPEGs are compressed, and a little of it can become very much
		MaxResponseHeaderBytes: maxHTTPHeader,
	}}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.watchdog = time.AfterFunc(c.stall, func() { c.cancel(errSilent) })
	c.watchdog.Stop()
	return c, nil
}

// dialHTTP connects, without a large buffer.
func dialHTTP(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetReadBuffer(httpBacklog) // without it, pictures may be late
	}
	return conn, err
}

// checkRedirect follows a redirect, and says nothing of the last address where it leads. Only the
// same server gets the password, or the same with HTTPS.
func checkRedirect(r *http.Request, before []*http.Request) error {
	first := before[0].URL
	if len(before) > maxRedirects {
		return errRedirects
	}
	r.Header.Del("Referer")
	if r.URL.Host != first.Host || r.URL.Scheme != first.Scheme && r.URL.Scheme != "https" {
		r.Header.Del("Authorization")
	}
	return nil
}

// Capture waits for a picture and appends the newest to dst.
func (c *httpCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	defer context.AfterFunc(ctx, func() { c.cancel(ctx.Err()) })()
	defer c.watchdog.Stop()
	for c.watchdog.Reset(c.stall); ; {
		found, err := c.pictures.next()
		switch {
		case found && c.isWanted():
			dst, err = c.take(dst)
			return dst, c.at, err
		case found:
			c.watchdog.Reset(c.stall)
			continue
		case err == nil:
			err = c.read(ctx)
		}
		if err != nil {
			return dst, c.at, c.explain(c.orCutOff(err))
		}
	}
}

// read reads once, of an answer that it asks for if there is none.
func (c *httpCamera) read(ctx context.Context) error {
	if c.body == nil {
		if c.single && !sleep(ctx, time.Until(c.asked.Add(interval(c.fps)))) {
			return ctx.Err()
		}
		c.watchdog.Reset(c.stall)
		if err := c.ask(); err != nil {
			return err
		}
	}
	if c.readErr != nil {
		return c.readErr
	}
	c.readErr = c.pictures.fill(c.body)
	c.at = time.Now()
	return nil
}

// orCutOff returns an error of an answer. That of one picture is no reason to give up the camera:
// the next request may get a good one.
func (c *httpCamera) orCutOff(err error) error {
	if !c.single || c.body == nil || c.ctx.Err() != nil {
		return err
	}
	if !errors.Is(err, mjpeg.ErrDamaged) {
		err = mjpeg.Damage("it is cut off")
	}
	c.endAnswer()
	return err
}

// ask asks for the stream, or for a picture.
func (c *httpCamera) ask() error {
	c.asked = time.Now()
	r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, c.url.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "porthole")
	if c.user != nil {
		password, _ := c.user.Password()
		r.SetBasicAuth(c.user.Username(), password)
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	c.single, err = checkResponse(answer, c.user != nil)
	if err != nil {
		answer.Body.Close()
		return err
	}
	c.body = answer.Body
	return nil
}

// isWanted reports whether to take the newest picture. One that was asked for is. Of a stream, it
// is if it is due, and is not the last one again: servers send that if there is no new one, like
// porthole after 0.25 s and then once a second. Later than sameAgain it counts as new, or who waits
// for a picture would wait in vain.
func (c *httpCamera) isWanted() bool {
	if c.single {
		return true
	}
	sum := crc32.ChecksumIEEE(c.pictures.newest)
	if sum == c.sum && c.at.Sub(c.taken) < sameAgain || c.due != nil && !c.due(c.at) {
		return false
	}
	c.sum, c.taken = sum, c.at
	return true
}

// take appends the newest picture to dst, and notes its size. If it came alone, that was all.
func (c *httpCamera) take(dst []byte) ([]byte, error) {
	dst, err := c.pictures.appendJPEG(dst)
	if err == nil {
		c.noteSize(c.pictures.repair.Size())
	}
	if c.single {
		c.endAnswer()
	}
	return dst, err
}

func (c *httpCamera) noteSize(width, height int) {
	if width == c.width && height == c.height { // only this goroutine writes them
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.width, c.height = width, height
	c.info.Width, c.info.Height = c.turn.size(width, height)
	if c.single {
		c.info.FPS = c.fps
	}
}

// endAnswer ends an answer. A connection that has nothing more to say is kept for the next.
func (c *httpCamera) endAnswer() {
	if c.body != nil {
		c.body.Close()
	}
	c.body, c.readErr = nil, nil
	c.pictures.restart()
}

func (c *httpCamera) Info() cameraInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}

// setDue lets Capture leave out pictures, if there are more than were asked for.
func (c *httpCamera) setDue(due func(at time.Time) bool) { c.due = due }

func (c *httpCamera) setLog(log func(line string)) {
	if c.remark != "" {
		log(c.remark)
	}
}

// choices has the size that the pictures have, once that is known, and no other.
func (c *httpCamera) choices() choices {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := choices{check: c.setControls}
	if c.width > 0 {
		ch.Sizes = []string{fmt.Sprintf("%dx%d", c.width, c.height)}
	}
	return ch
}

func (c *httpCamera) setControls(set []controlSetting) error {
	if len(set) > 0 {
		return fmt.Errorf("%v: %s has controls of its own, which cannot be set here", set[0], c.url.Host)
	}
	return nil
}

// Close ends the connection.
func (c *httpCamera) Close() error {
	c.cancel(nil)
	c.endAnswer()
	c.client.CloseIdleConnections()
	return nil
}

// explain makes an error a sentence for a person, with the address and without the password.
func (c *httpCamera) explain(err error) error {
	if errors.Is(err, mjpeg.ErrDamaged) {
		return err
	}
	switch cause := context.Cause(c.ctx); cause {
	case nil:
	case errSilent:
		err = fmt.Errorf("no picture for %v: the camera stalled", c.stall)
		if c.body == nil {
			err = fmt.Errorf("no answer for %v: is the camera on?", c.stall)
		}
	default:
		return cause
	}
	return &advisedError{c.label + ": " + describeHTTP(err), err}
}
