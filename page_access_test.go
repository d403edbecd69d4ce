package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// testPassword has the page, and all that it can ask for, behind a password.
func testPassword(t *testing.T, b *browser) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15", "-auth", "anna:s3:cret/ä")
	b.open(t, strings.Replace(p.url, "//", "//anna:s3%3Acret%2F%C3%A4@", 1)+"/")
	b.await(t, "there is a picture", "shown && state.mode === 'live' && settings && settings.size")
	checkSight(t, b, "picture")
	var failed []string
	b.eval(t, &failed, `
		const failed = []
		const settled = (what, promise) => promise.catch(() => failed.push(what))
		const image = src => new Promise((onload, onerror) => Object.assign(new Image(), { onload, onerror, src: at(src) }))
		const events = new Promise((resolve, onerror) => Object.assign(new EventSource(at('events')), {
			onerror, onmessage(event) { this.close(); resolve(event) },
		}))
		return Promise.all([
			settled('an <img> of the stream', image('stream')),
			settled('an <img> of a snapshot', image('snapshot')),
			settled('events', events),
			settled('settings', change({ fps: 12 }).then(() => the('wrong').textContent && Promise.reject())),
		]).then(() => failed)`)
	if len(failed) > 0 {
		t.Errorf("these do not work: %q", failed)
	}
	checkQuiet(t, b)
}

// testTLS has the page over HTTPS, behind a password.
func testTLS(t *testing.T, b *browser) {
	flags, _ := writeCertificate(t, t.TempDir())
	p := begin(t, append(flags, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "2", "-auth", "anna:secret")...)
	b.open(t, strings.Replace(p.url, "//", "//anna:secret@", 1)+"/")
	b.await(t, "there is a picture", "isSecureContext && shown && state.mode === 'live' && settings && settings.size")
	checkSight(t, b, "picture")
	var event map[string]any
	b.eval(t, &event, `
		return new Promise((resolve, onerror) => Object.assign(new EventSource(at('events')), {
			onerror, onmessage(event) { this.close(); resolve(JSON.parse(event.data)) },
		}))`)
	if event["mode"] != "live" {
		t.Errorf("got event %v, want one of a live camera", event)
	}
	b.eval(t, nil, "return change({ fps: 20 })")
	b.await(t, "pictures come faster", "framesPerSecond() > 10")
	checkQuiet(t, b)
}

// testOtherPages has pages of another server: any may show the picture, and those of -allow-origin
// may read everything and change nothing.
func testOtherPages(t *testing.T, b *browser) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!DOCTYPE html><title>another page</title>")
	}))
	defer other.Close()
	for _, tt := range []struct {
		origin string
		want   string // what the page can do
	}{
		{"http://mainsail.local", "show the stream, show a snapshot"},
		{"*", "show the stream, show a snapshot, read the state, read the stream, read events"},
		{other.URL, "show the stream, show a snapshot, read the state, read the stream, read events"},
	} {
		p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15", "-allow-origin", tt.origin)
		b.open(t, other.URL)
		var can []string
		b.eval(t, &can, `
			const [url] = arguments
			const attempts = {
				'show the stream': image(url + '/stream'),
				'show a snapshot': image(url + '/snapshot'),
				'read the state': fetch(url + '/state', { headers: { 'Cache-Control': 'no-cache' } }).then(r => r.json()),
				'read the stream': fetch(url + '/stream?raw=1').then(r => r.body.getReader().read()),
				'read events': new Promise((onmessage, onerror) => Object.assign(new EventSource(url + '/events'), { onmessage, onerror })),
				'change settings': change('application/json', '{"fps":2}'),
				'change settings by a form': change('application/x-www-form-urlencoded', 'fps=2'),
				'change settings by text': change('text/plain', '{"fps":2}'),
			}
			function image(src) {
				return new Promise((onload, onerror) => document.body.append(Object.assign(new Image(), { onload, onerror, src })))
			}
			async function change(type, body) {
				await fetch(url + '/settings', { method: 'POST', mode: type.includes('json') ? 'cors' : 'no-cors', headers: { 'Content-Type': type }, body })
				const settings = await fetch(url + '/settings').then(r => r.json())
				if (settings.fps !== 2) throw Error('not changed')
			}
			return Promise.all(Object.entries(attempts).map(([what, done]) => done.then(() => [what], () => []))).then(all => all.flat())`, p.url)
		if got := strings.Join(can, ", "); got != tt.want {
			t.Errorf("-allow-origin %s: the page can %s; want it to %s", tt.origin, got, tt.want)
		}
		if response := text(t, ask(t, "GET", p.url+"/settings")); !strings.Contains(response, `"fps": 15,`) {
			t.Errorf("-allow-origin %s: settings were changed: %s", tt.origin, response)
		}
	}
	b.open(t, "about:blank")
	b.complaints(t) // of what was refused
}
