package main

// A kind is how the value of an option is read.
type kind int

const (
	flagKind     kind = iota // true, or a boolean value behind =
	naturalKind              // a whole number; negative ones wrap around
	integerKind              // a whole number
	floatKind                // a number
	textKind                 // anything
	durationKind             // a time, maybe with a unit
)

// An option is one that the program knows, from one version to before another.
type option struct {
	name, short string
	kind        kind
	standard    string // its value when it is not given
	implicit    string // its value when none is given; such options take one only behind =
	from, until version
}

var never = version{}

// options are those of core/options.cpp and core/video_options.hpp.
var options = []option{
	flag("help", "h"),
	flag("version", ""),
	flag("list-cameras", ""),
	natural("camera", "", "0"),
	{name: "verbose", short: "v", kind: naturalKind, standard: "1", implicit: "2"},
	{name: "config", short: "c", kind: textKind, implicit: "config.txt"},
	text("info-text", "", "#%frame (%fps fps) exp %exp ag %ag dg %dg"),
	natural("width", "", "0"),
	natural("height", "", "0"),
	natural("timeout", "t", "5000").before(bookworm), // ms
	duration("timeout", "t", "5sec").since(bookworm),
	text("output", "o", ""),
	text("post-process-file", "", ""),
	text("post-process-libs", "", "").since(april2025),
	flag("rawfull", "").before(bookworm),
	flag("nopreview", "n"),
	text("preview", "p", "0,0,0,0"),
	flag("fullscreen", "f"),
	flag("qt-preview", ""),
	text("preview-libs", "", "").since(november2025),
	flag("hflip", ""),
	flag("vflip", ""),
	integer("rotation", "", "0"), // degrees: 0 or 180
	text("roi", "", "0,0,0,0"),   // x,y,width,height in parts of the mode's field
	float("shutter", "0").before(bookworm),
	duration("shutter", "", "0").since(bookworm), // us; 0: automatic
	float("analoggain", "0"),
	float("gain", "0"), // 0: automatic
	text("metering", "", "centre"),
	text("exposure", "", "normal"),
	float("ev", "0"),
	text("awb", "", "auto"),
	text("awbgains", "", "0,0"), // red,blue; 0: automatic
	text("ccm", "", "").since(november2025),
	flag("flush", ""),
	natural("wrap", "", "0"),
	float("brightness", "0"),
	float("contrast", "1"),
	float("saturation", "1"),
	float("sharpness", "1"),
	float("framerate", "30").before(rateForMode),
	float("framerate", "-1").since(rateForMode), // -1: not given
	text("denoise", "", "auto"),                 // auto, off, cdn_off, cdn_fast, cdn_hq
	natural("viewfinder-width", "", "0"),
	natural("viewfinder-height", "", "0"),
	text("tuning-file", "", "-"),
	natural("lores-width", "", "0"),
	natural("lores-height", "", "0"),
	flag("lores-par", "").since(april2025),
	text("mode", "", ""), // W:H:bits:P or U
	text("viewfinder-mode", "", ""),
	natural("buffer-count", "", "0").since(rateForMode), // 0: 6
	natural("viewfinder-buffer-count", "", "0").since(rateForMode),
	flag("no-raw", "").since(bookworm),
	text("autofocus-mode", "", "default").since(rateForMode), // continuous where there is a lens to move
	text("autofocus-range", "", "normal").since(rateForMode),
	text("autofocus-speed", "", "normal").since(rateForMode),
	text("autofocus-window", "", "0,0,0,0").since(rateForMode),
	text("lens-position", "", "").since(rateForMode), // dioptres, or default
	{name: "hdr", kind: integerKind, standard: "-1", implicit: "1", from: rateForMode, until: bookworm},
	{name: "hdr", kind: textKind, standard: "off", implicit: "auto", from: bookworm},
	text("metadata", "", ""),
	text("metadata-format", "", "json"),
	duration("flicker-period", "", "0s").since(bookworm), // us

	text("bitrate", "b", "0"),
	text("profile", "", ""),
	text("level", "", ""),
	natural("intra", "g", "0"),
	flag("inline", ""),
	text("codec", "", "h264"),
	text("save-pts", "", ""),
	integer("quality", "q", "50"),
	flag("listen", "l"),
	flag("keypress", "k"),
	flag("signal", "s"),
	text("initial", "i", "record"),
	flag("split", ""),
	natural("segment", "", "0"),
	{name: "circular", kind: naturalKind, standard: "0", implicit: "4"},
	natural("frames", "", "0"),
	text("libav-video-codec", "", "h264_v4l2m2m"),
	text("libav-video-codec-opts", "", "").since(april2025),
	text("libav-format", "", ""),
	flag("libav-audio", ""),
	text("audio-codec", "", "aac"),
	text("audio-source", "", "pulse"),
	text("audio-device", "", "default"),
	natural("audio-channels", "", "0"),
	text("audio-bitrate", "", "32kbps"),
	natural("audio-samplerate", "", "0"),
	text("av-sync", "", "0us"),
	flag("low-latency", "").since(april2025),
	text("encoder-libs", "", "").since(november2025),
	text("sync", "", "off").since(april2025),
}

func flag(name, short string) option {
	return option{name: name, short: short, kind: flagKind, standard: "0", implicit: "1"}
}

func natural(name, short, standard string) option {
	return option{name: name, short: short, kind: naturalKind, standard: standard}
}

func integer(name, short, standard string) option {
	return option{name: name, short: short, kind: integerKind, standard: standard}
}

func float(name, standard string) option {
	return option{name: name, kind: floatKind, standard: standard}
}

func text(name, short, standard string) option {
	return option{name: name, short: short, kind: textKind, standard: standard}
}

func duration(name, short, standard string) option {
	return option{name: name, short: short, kind: durationKind, standard: standard}
}

func (o option) since(v version) option {
	o.from = v
	return o
}

func (o option) before(v version) option {
	o.until = v
	return o
}

// optionsOf returns the options that a version knows.
func optionsOf(v version) (known []option) {
	for _, o := range options {
		if v.since(o.from) && (o.until == never || !v.since(o.until)) {
			known = append(known, o)
		}
	}
	return known
}
