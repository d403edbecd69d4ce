package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"porthole/testdata/skip"
)

type pageTest struct {
	name string
	run  func(t *testing.T, b *browser)
}

var pageTests = []pageTest{
	{"15 fps", func(t *testing.T, b *browser) { testPicture(t, b, 15, 30) }},
	{"1 fps", func(t *testing.T, b *browser) { testPicture(t, b, 1, 3) }},
	{"the line", testLine},
	{"a clock is set", testClockSet},
	{"camera lost", testCameraLost},
	{"hidden", testHidden},
	{"left and back", testBack},
	{"pause", testPause},
	{"server gone", testServerGone},
	{"silence", testSilence},
	{"full house", testTooManyViewers},
	{"behind a proxy", testBehindProxy},
	{"snapshot", testSnapshotButton},
	{"settings", testSettingsPanel},
	{"settings of the camera", testRate},
	{"phone", testPhone},
	{"policy", testPolicy},
	{"password", testPassword},
	{"TLS", testTLS},
	{"other pages", testOtherPages},
	{"no fetch", testNoFetch},
	{"old browser", testOldBrowser},
}

// TestBrowser has the page in real browsers.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		skip.Test(t, "browsers take three minutes", "run it without -short")
	}
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		skip.Test(t, "the page is the same for all processors", "run it on amd64 or arm64")
	}
	for _, name := range slices.Sorted(maps.Keys(browsers)) {
		t.Run(name, func(t *testing.T) {
			b := browsers[name](t, true)
			for _, test := range pageTests {
				t.Run(test.name, func(t *testing.T) {
					b.open(t, "about:blank")
					b.complaints(t) // of the last test's page, when its server ended
					test.run(t, b)
				})
			}
		})
		t.Run(name+" without scripts", func(t *testing.T) {
			b := browsers[name](t, false)
			p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
			b.open(t, p.url+"/")
			checkSight(t, b, "")
			awaitViewers(t, p, 1)
			p = begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-auth", "anna:secret")
			b.open(t, strings.Replace(p.url, "//", "//anna:secret@", 1)+"/")
			checkSight(t, b, "")
		})
	}
}

// testPicture has a camera of so many frames per second, and looks at n of
// the frames that the page paints.
func testPicture(t *testing.T, b *browser, fps, n int) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", fmt.Sprint(fps))
	b.open(t, p.url+"/")
	b.await(t, "there is a picture, and clocks have been compared", "shown && clocks.length > 2")
	var frames []struct {
		Number int `json:",string"`
		Arrived, Painted, Displayed,
		Age float64 // ms
	}
	b.eval(t, &frames, `
		const frames = [], [wanted] = arguments
		return new Promise(done => document.addEventListener('frame', ({ detail: frame }) => {
			requestAnimationFrame(() => { frame.displayed = performance.now() })
			if (frames.push(frame) > wanted) done(frames.slice(0, wanted).map(({ jpeg, ...times }) => times))
		}))`, n)
	if len(frames) != n {
		t.Fatalf("got %d frames, want %d", len(frames), n)
	}
	var paint, display, age []float64
	for i, f := range frames {
		if i > 0 && f.Number <= frames[i-1].Number {
			t.Errorf("got frame %d after %d", f.Number, frames[i-1].Number)
		}
		paint = append(paint, f.Painted-f.Arrived)
		display = append(display, f.Displayed-f.Arrived)
		age = append(age, f.Age)
	}
	first, last := frames[0], frames[n-1]
	if captured := last.Number - first.Number; captured > 2*(n-1) {
		t.Errorf("it painted %d of %d frames", n-1, captured)
	}
	rate := float64(n-1) * 1000 / (last.Painted - first.Painted)
	var begun float64
	b.eval(t, &begun, "return performance.getEntriesByName('first frame')[0].startTime")
	t.Logf("first picture after %.0f ms; %.2f frames per second; painted %.1f ms after its last byte came, displayed %.1f ms, age %.1f ms (medians of %d)",
		begun, rate, median(paint), median(display), median(age), n)
	// The server sends a frame again after 250 ms. A page that needs that is
	// later than this, and no machine is as busy.
	if got := median(paint); got > 200 {
		t.Errorf("frames are painted %.0f ms after they came", got)
	}
	if got := median(age); got > 2000 {
		t.Errorf("they are said to be %.0f ms old", got)
	}
	checkSight(t, b, "picture")
	checkQuiet(t, b)
}

func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// testLine has the figures below the picture.
func testLine(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	b.open(t, p.url+"/")
	const want = `^emulated camera·?640 × 480·?\d+ fps·?\d+ ms old·?1 viewer$`
	b.await(t, "the line is like "+want, "/"+want+"/.test(the('line').textContent) && document.body.dataset.mode === 'live'")
	var title, notice string
	b.eval(t, &title, "return document.title")
	b.eval(t, &notice, "return the('notice').textContent")
	if title != "emulated camera – porthole" || notice != "" {
		t.Errorf("got title %q and notice %q, want %q and none", title, notice, "emulated camera – porthole")
	}
	checkQuiet(t, b)
}

// testPhone has the page on a phone, held upright and sideways, with the drawer closed and open.
func testPhone(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	b.open(t, p.url+"/healthz") // a page of the same origin, to have frames in
	for _, size := range [][2]int{{390, 844}, {844, 390}, {667, 375}} {
		var under []string
		b.eval(t, &under, `
			const [width, height] = arguments
			const frame = document.createElement('iframe')
			Object.assign(frame, { width, height, src: '/' })
			document.body.replaceChildren(frame)
			const page = id => frame.contentDocument.getElementById(id)
			const until = condition => new Promise(done => {
				const timer = setInterval(() => { if (condition()) done(clearInterval(timer)) }, 50)
			})
			const found = []
			const look = drawer => {
				const buttons = page('buttons').getBoundingClientRect()
				for (const text of page('line').children) {
					const box = text.getBoundingClientRect()
					if (box.width && box.right > buttons.left + 1 && box.bottom > buttons.top && box.top < buttons.bottom)
						found.push(text.textContent + ' with the drawer ' + drawer)
				}
			}
			return until(() => page('age')?.textContent && page('viewers').textContent && !page('settings').hidden)
				.then(() => { look('closed'); page('settings').click(); return until(() => page('drawer').open) })
				.then(() => { look('open'); return found })`, size[0], size[1])
		if len(under) > 0 {
			t.Errorf("%dx%d: under the buttons are %q", size[0], size[1], under)
		}
	}
}

// testPolicy has the page try what no script that gets into it should be able to.
func testPolicy(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	other := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	b.open(t, p.url+"/")
	b.await(t, "there is a picture", "shown")
	var did []string
	b.eval(t, &did, `
		const [other] = arguments, did = []
		const script = document.createElement('script')
		script.textContent = 'window.ran = true'
		document.body.append(script)
		if (window.ran) did.push('an inline script ran')
		const load = src => new Promise(done => {
			const image = Object.assign(new Image(), { src, onload: () => done(true), onerror: () => done(false) })
		})
		return Promise.all([
			fetch(other + '/healthz', { mode: 'no-cors' }).then(() => did.push('it asked another server'), () => {}),
			load(other + '/snapshot').then(loaded => { if (loaded) did.push('it showed a picture of another server') }),
			load('snapshot').then(loaded => { if (!loaded) did.push('it did not show ours') }),
		]).then(() => did)`, other.url)
	if len(did) > 0 {
		t.Errorf("got %q, want none of these", did)
	}
	b.complaints(t) // of what was refused
}

// testClockSet sets the page's clock, which is the same to it as if the board's was set.
func testClockSet(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	b.open(t, p.url+"/")
	b.await(t, "the clocks have been compared, and it is calm", "clocks.length > 2")
	for _, hours := range []int{1, -2} {
		b.eval(t, nil, "clocks.forEach(one => { one.trip = 0 })") // none will be quicker
		b.eval(t, nil, "const real = Date.now, shift = arguments[0]; Date.now = () => real() + shift", hours*3600_000)
		b.await(t, "the age is right again", "Math.abs(shown.age) < 5000 && Math.abs(Date.now() - shown.date) < 5000")
		var most float64
		b.eval(t, &most, `
			return new Promise(done => {
				const ages = []
				document.addEventListener('frame', ({ detail }) => { if (ages.push(Math.abs(detail.age)) === 10) done(Math.max(...ages)) })
			})`)
		if most > 5000 {
			t.Errorf("%d h: frames are said to be up to %.0f ms old", hours, most)
		}
	}
	checkQuiet(t, b)
}

// fakeHost returns a fake camera and a host on which it is the only one with a device.
func fakeHost() (*fakeCamera, host) {
	c := &fakeCamera{begin: time.Now(), device: "/dev/fake0"}
	h := thisHost
	h.drivers = withoutDevices(driver{name: "fake", rank: 1, open: c.open, devices: c.devices})
	return c, h
}

func testCameraLost(t *testing.T, b *browser) {
	camera, h := fakeHost()
	p := beginOn(t, h, "-listen", "127.0.0.1:0", "-camera", "fake")
	b.open(t, p.url+"/")
	b.await(t, "the camera is live", "shown && document.body.dataset.mode === 'live'")
	unplugged := errors.New("/dev/fake0: unplugged")
	camera.set("", nil, unplugged)
	b.await(t, "the page says why", "the('notice').textContent === 'Camera lostno camera found'")
	b.await(t, "it shows that it is lost", "document.body.dataset.mode === 'lost' && document.title.startsWith('Camera lost')")
	camera.set("/dev/fake0", nil, nil)
	b.await(t, "it is live again", "document.body.dataset.mode === 'live' && the('notice').textContent === '' && fresh()")
	checkQuiet(t, b)
}

// awaitViewers waits until p has so many.
func awaitViewers(t *testing.T, p *program, n float64) {
	t.Helper()
	eventually(t, fmt.Sprintf("there are %v viewers", n), func() bool { return stateOf(t, p)["viewers"] == n })
}

func testHidden(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	b.open(t, p.url+"/")
	b.await(t, "there is a picture", "shown")
	awaitViewers(t, p, 1)
	show := b.hide(t)
	awaitViewers(t, p, 0)
	show()
	awaitViewers(t, p, 1)
	b.await(t, "it is live again", "fresh() && document.body.dataset.mode === 'live'")
	checkQuiet(t, b)
}

// testBack leaves the page and comes back to it.
func testBack(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	b.open(t, p.url+"/")
	b.await(t, "there is a picture", "shown")
	awaitViewers(t, p, 1)
	b.open(t, "about:blank")
	awaitViewers(t, p, 0)
	b.do(t, goBack, nil, nil)
	awaitViewers(t, p, 1)
	b.await(t, "it is live again", "fresh() && document.body.dataset.mode === 'live'")
	checkQuiet(t, b)
}

func testPause(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	b.open(t, p.url+"/")
	b.await(t, "there is a picture", "shown")
	b.click(t, "pause")
	awaitViewers(t, p, 0)
	b.await(t, "it says so", "the('rate').textContent === 'paused' && the('pause').getAttribute('aria-pressed') === 'true'")
	checkSight(t, b, "picture")
	b.click(t, "pause")
	awaitViewers(t, p, 1)
	b.await(t, "it is live again", "fresh() && document.body.dataset.mode === 'live'")
	checkQuiet(t, b)
}

func testServerGone(t *testing.T, b *browser) {
	args := []string{"-camera", "emulated", "-fps", "15", "-listen"}
	p := begin(t, append(args, "127.0.0.1:0")...)
	b.open(t, p.url+"/")
	b.await(t, "there is a picture", "shown")
	p.stop()
	b.await(t, "the page says so", "the('notice').textContent.startsWith('No connection')")
	p = begin(t, append(args, p.address)...)
	awaitViewers(t, p, 1)
	b.await(t, "it is live again", "fresh() && document.body.dataset.mode === 'live' && the('notice').textContent === ''")
	b.complaints(t) // the browser's own, of failed requests
}

// testSilence has a connection that is still there and brings nothing.
func testSilence(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	var streams atomic.Int32
	url := inFront(t, p, func(proxy http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stream" && streams.Add(1) == 1 {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			proxy.ServeHTTP(w, r)
		})
	})
	b.open(t, url)
	b.await(t, "there is a picture", "shown")
	if got := streams.Load(); got != 2 {
		t.Errorf("the stream was opened %d times, want 2", got)
	}
	checkQuiet(t, b)
}

func testTooManyViewers(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-max-clients", "1")
	other := ask(t, "GET", p.url+"/stream")
	b.open(t, p.url+"/")
	b.await(t, "the page says so", "the('notice').textContent.includes('too many viewers: 1 are watching already')")
	other.Body.Close()
	b.await(t, "there is a picture", "shown && the('notice').textContent === ''")
	b.complaints(t) // the browser's own, of status 503
}

// inFront puts a server in front of p, and returns its URL. wrap makes its
// handler of one that passes everything on.
func inFront(t *testing.T, p *program, wrap func(http.Handler) http.Handler) string {
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	front := httptest.NewServer(wrap(proxy))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	return front.URL + "/"
}

func testBehindProxy(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	var astray atomic.Value
	url := inFront(t, p, func(proxy http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/webcam/", http.StripPrefix("/webcam", proxy))
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			astray.Store(r.URL.Path)
			http.NotFound(w, r)
		})
		return mux
	})
	b.open(t, url+"webcam/")
	b.await(t, "all is well", "shown && the('viewers').textContent === '1 viewer'")
	b.click(t, "snapshot")
	if path := astray.Load(); path != nil {
		t.Errorf("the page asked for %s", path)
	}
	checkQuiet(t, b)
}

func testSnapshotButton(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15")
	saved := func() []string {
		files, _ := filepath.Glob(filepath.Join(b.downloads, "porthole-*.jpg"))
		return files
	}
	for _, file := range saved() {
		os.Remove(file)
	}
	b.open(t, p.url+"/")
	b.await(t, "there is a picture", "shown")
	b.click(t, "snapshot")
	var data []byte
	eventually(t, "a picture of the camera's is saved", func() bool {
		if files := saved(); len(files) == 1 {
			data, _ = os.ReadFile(files[0])
		}
		return isPicture(string(data))
	})
	name := filepath.Base(saved()[0])
	if !regexp.MustCompile(`^porthole-20\d\d-\d\d-\d\dT\d\d\.\d\d\.\d\d\.jpg$`).MatchString(name) {
		t.Errorf("its name is %s", name)
	}
	checkQuiet(t, b)
}
