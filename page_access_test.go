package main

import (
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
