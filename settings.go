package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxChange is more than any change needs, in bytes.
const maxChange = 16 << 10

// A settingsChange is a change that a viewer asks for. It is made for all viewers, since there is
// one camera. Fields that are nil stay as they are.
type settingsChange struct {
	Size     *string        `json:"size"`
	Rotate   *json.Number   `json:"rotate"`
	Flip     *string        `json:"flip"`
	FPS      *float64       `json:"fps"`
	Quality  *float64       `json:"quality"`  // a whole number, which 80.0 is, too
	Controls map[string]any `json:"controls"` // numbers, words, or true and false
	Reset    bool           `json:"reset"`    // to how the program was started, before all else
}

// settingsState is what /settings tells.
type settingsState struct {
	Size    string  `json:"size"` // of the camera, before pictures are turned
	Rotate  int     `json:"rotate"`
	Flip    string  `json:"flip"`
	FPS     float64 `json:"fps"`
	Quality int     `json:"quality"`
	Refused string  `json:"refused,omitempty"` // what was set last and undone, since the camera did not take it
	choices
}

func (v *server) serveSettings(w http.ResponseWriter, r *http.Request) {
	sendJSON(w, v.supervisor.settings())
}

// changeSettings makes a change and answers as serveSettings does, or says what is wrong
// with it and changes nothing.
func (v *server) changeSettings(w http.ResponseWriter, r *http.Request) {
	if isCrossOrigin(r) {
		http.Error(w, "only porthole's own page and programs that are no browsers may change settings", http.StatusForbidden)
		return
	}
	c, err := readChange(r)
	if err == nil {
		err = v.supervisor.apply(c)
	}
	if err != nil {
		extendDeadline(w) // some cameras take their time
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v.serveSettings(w, r)
}

// isCrossOrigin reports whether a browser may have sent a request for a page that is
// not ours: a browser on the same network does that for whatever page it shows.
//
// Browsers say it in Sec-Fetch-Site, but only over HTTPS and to localhost (W3C Fetch
// Metadata, section 2). Over plain HTTP there is Origin, the server that the page is
// from. It is ours if it is what the browser calls us: Host, or X-Forwarded-Host from
// a proxy that has another name for us. Some proxies send neither, like nginx unless
// it is told to, and then Origin proves nothing. A form is refused there.
//
// JSON is not: no browser sends application/json to another server before that has
// agreed, in answer to OPTIONS, to the header Content-Type (a preflight, section 4.8
// of the Fetch standard). We never agree, not even for -allow-origin. A form, and fetch without
// CORS, can only send the types of a form. So whoever adds Content-Type to the
// Access-Control-Allow-Headers in cors.go has to check Origin here for JSON, too.
//
// No Origin at all is a program, or a browser too old to send it for a form.
func isCrossOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "":
	case "same-origin", "none":
		return false
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" || contentType(r) == "application/json" {
		return false
	}
	o, err := url.Parse(origin)
	return err != nil || o.Host == "" || o.Host != r.Host && o.Host != r.Header.Get("X-Forwarded-Host")
}

// contentType returns the type of a request's body, without its parameters.
func contentType(r *http.Request) string {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind
}

// readChange reads a change, as JSON or as a form. In a form, what is not a
// field of a change is a control.
func readChange(r *http.Request) (c settingsChange, err error) {
	switch contentType(r) {
	case "application/json":
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		d.UseNumber()
		if err := d.Decode(&c); err != nil {
			return c, fmt.Errorf("not settings in JSON: %w", err)
		}
		if d.More() {
			return c, errors.New("not settings in JSON: there is something behind them")
		}
		return c, nil
	case "application/x-www-form-urlencoded":
		if err := r.ParseForm(); err != nil {
			return c, fmt.Errorf("not a form: %w", err)
		}
		for name, values := range r.PostForm {
			if err := c.setField(name, values[0]); err != nil {
				return c, err
			}
		}
		return c, nil
	}
	return c, errors.New("settings must come as application/json or as a form")
}

// setField takes over a field of a form.
func (c *settingsChange) setField(name, value string) error {
	switch name {
	case "size":
		c.Size = &value
	case "rotate":
		c.Rotate = (*json.Number)(&value)
	case "flip":
		c.Flip = &value
	case "fps":
		fps, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("fps=%s: must be a number", value)
		}
		c.FPS = &fps
	case "quality":
		quality, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("quality=%s: must be a whole number", value)
		}
		c.Quality = &quality
	case "reset":
		c.Reset = value == "1" || value == "true" || value == "on"
	default:
		if c.Controls == nil {
			c.Controls = make(map[string]any)
		}
		c.Controls[name] = value
	}
	return nil
}

// controlSettings lists the controls of a change in the order of their names.
func (c *settingsChange) controlSettings() ([]controlSetting, error) {
	var set []controlSetting
	for _, name := range slices.Sorted(maps.Keys(c.Controls)) {
		switch value := c.Controls[name]; value.(type) {
		case json.Number, string, bool:
			set = append(set, controlSetting{name, fmt.Sprint(value), true})
		default:
			return nil, fmt.Errorf("%s: must be a number, a word, true or false", name)
		}
	}
	return set, nil
}

// settings returns the settings, and what they could be. While the camera is closed they are
// those of the last time that it was open.
func (sv *supervisor) settings() settingsState {
	sv.cameraMu.Lock()
	defer sv.cameraMu.Unlock()
	sv.refreshChoices()
	sv.mu.Lock()
	defer sv.mu.Unlock()
	s := settingsState{
		Rotate: sv.want.rotate, Flip: sv.want.flip, FPS: sv.want.fps, Quality: sv.want.quality, Refused: sv.refused, choices: sv.choices,
	}
	width, height := sv.want.width, sv.want.height
	if granted := sv.status.cameraInfo; granted.Width > 0 && sv.statusGeneration == sv.generation {
		width, height = sv.want.turn.size(granted.Width, granted.Height)
		s.FPS = granted.FPS
	}
	s.Size = fmt.Sprintf("%dx%d", width, height)
	s.FPS = roundRate(cmp.Or(s.FPS, sv.want.fps, 30))
	s.Sizes = append([]string{}, s.Sizes...) // [] in JSON, not null
	s.Rates = append([]float64{}, s.Rates...)
	if s.states != nil {
		s.Controls = s.states(sv.want.set)
	}
	s.Controls = append([]controlState{}, s.Controls...)
	return s
}

// refreshChoices asks the camera for its choices, if it is open. adjusting is held.
func (sv *supervisor) refreshChoices() {
	if sv.current != nil {
		sv.choices = sv.current.choices()
	}
}

// apply makes a change, or says what is wrong with it.
func (sv *supervisor) apply(c settingsChange) error {
	sv.cameraMu.Lock()
	defer sv.cameraMu.Unlock()
	sv.refreshChoices()
	want, _ := sv.wanted()
	var reset []controlSetting
	if c.Reset {
		last, twin := want.last, want.twin
		want, reset = sv.initial, nil
		if !sv.choices.Restarts {
			reset = sv.defaults()
		}
		want.last, want.twin, want.set = last, twin, slices.Concat(reset, sv.initial.set)
	}
	if err := c.applyTo(&want, sv.choices); err != nil {
		return err
	}
	set, err := c.controlSettings()
	if err != nil {
		return err
	}
	if len(set) > 0 && sv.choices.check == nil {
		return errors.New("no camera has been open yet: it is not known what it lets be set")
	}
	if len(set) > 0 {
		if err := sv.choices.check(set); err != nil {
			return err
		}
	}
	if sv.current != nil {
		for _, one := range reset {
			sv.current.setControls([]controlSetting{one}) // what an automatic mode has is not ours to reset
		}
		if err := sv.current.setControls(set); err != nil {
			return err
		}
	}
	want.set = withControls(want.set, set)
	sv.install(want, sv.choices.Restarts)
	return nil
}

// install makes settings the wanted ones. If the camera must be opened again for them, that
// happens at once.
func (sv *supervisor) install(want settings, restarts bool) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	old := sv.want
	sv.want, sv.refused = want, ""
	if want.width != old.width || want.height != old.height || want.turn != old.turn || want.fps != old.fps || want.quality != old.quality ||
		restarts && !slices.Equal(want.set, old.set) {
		sv.generation++
		if sv.lastWorking == nil && old.last.Name != "" {
			sv.lastWorking = &old
		}
	}
}

// defaults lists the settings that make the camera as it was by default. Numbers come first,
// before an automatic mode takes them over.
func (sv *supervisor) defaults() []controlSetting {
	var numbers, modes []controlSetting
	for _, d := range sv.choices.Controls {
		one := controlSetting{d.Name, "default", true}
		switch {
		case d.ReadOnly || d.Default == nil || d.Value == *d.Default:
		case d.Type == "int":
			numbers = append(numbers, one)
		default:
			modes = append(modes, one)
		}
	}
	return append(numbers, modes...)
}

// applyTo puts all but the controls of a change into want.
func (c *settingsChange) applyTo(want *settings, ch choices) (err error) {
	if c.Size != nil {
		want.width, want.height, err = ch.parseSize(*c.Size)
		if err != nil {
			return err
		}
	}
	if err := c.applyTurn(&want.turn); err != nil {
		return err
	}
	if c.FPS != nil {
		want.fps = *c.FPS
		if !(want.fps > 0 && want.fps <= maxRate) {
			return fmt.Errorf("fps=%v: must be above 0 and up to %d", want.fps, maxRate)
		}
		// Another size may have other rates, and slow ones are made by leaving pictures out.
		if len(ch.Rates) > 0 && c.Size == nil && want.fps >= slowRate {
			want.fps, err = nearestRate(ch.Rates, want.fps)
		}
		if err != nil {
			return err
		}
	}
	if c.Quality != nil {
		quality := *c.Quality
		switch {
		case !(quality >= 1 && quality <= 100):
			return fmt.Errorf("quality=%v: must be from 1 to 100", quality)
		case quality != math.Trunc(quality):
			return fmt.Errorf("quality=%v: must be a whole number", quality)
		}
		want.quality = int(quality)
	}
	return nil
}

func (c *settingsChange) applyTurn(want *turn) error {
	if c.Rotate != nil {
		if err := want.parseRotate(c.Rotate.String()); err != nil {
			return fmt.Errorf("rotate=%s: %w", *c.Rotate, err)
		}
	}
	if c.Flip != nil {
		if err := want.parseFlip(*c.Flip); err != nil {
			return fmt.Errorf("flip=%s: %w", *c.Flip, err)
		}
	}
	return nil
}

// parseSize reads a size that the camera has.
func (ch choices) parseSize(text string) (width, height int, err error) {
	width, height, err = parseSize(text)
	if err != nil {
		return 0, 0, fmt.Errorf("size=%s: %w", text, err)
	}
	if len(ch.Sizes) > 0 && !slices.Contains(ch.Sizes, text) {
		return 0, 0, fmt.Errorf("size=%s: must be one of %s", text, strings.Join(ch.Sizes, ", "))
	}
	return width, height, nil
}

// nearestRate returns the one of the rates that is meant by fps: 29.97 by 30, too.
func nearestRate(rates []float64, fps float64) (float64, error) {
	apart := func(rate float64) float64 { return math.Abs(rate - fps) }
	nearest := slices.MinFunc(rates, func(a, b float64) int { return cmp.Compare(apart(a), apart(b)) })
	if apart(nearest) > nearest/100 {
		return 0, fmt.Errorf("fps=%v: must be one of %v", fps, rates)
	}
	return nearest, nil
}

// withControls returns settings of controls with new ones in place of those of the same
// control.
func withControls(all, with []controlSetting) []controlSetting {
	for _, one := range with {
		same := func(s controlSetting) bool { return s.name == one.name }
		all = append(slices.DeleteFunc(slices.Clone(all), same), one)
	}
	return all
}
