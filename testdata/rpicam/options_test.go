package main

import (
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, v, args string) (values, error) {
	t.Helper()
	version, err := parseVersion(v)
	if err != nil {
		t.Fatal(err)
	}
	return parseArguments(optionsOf(version), strings.Fields(args))
}

// Values may stand where Boost takes them.
func TestParse(t *testing.T) {
	for _, test := range []struct{ args, name, want string }{
		{"", "quality", "50"},
		{"-q 80", "quality", "80"},
		{"-q80", "quality", "80"},
		{"--quality 80", "quality", "80"},
		{"--quality=80", "quality", "80"},
		{"--qual=80", "quality", "80"},
		{"-o -", "output", "-"},
		{"--ev -1", "ev", "-1"},
		{"--mode 640:480", "mode", "640:480"}, // though --mode begins no other name only
		{"--output --width", "output", "--width"},
		{"--verbose", "verbose", "2"},
		{"--verbose=0", "verbose", "0"},
		{"-v0", "verbose", "0"},
		{"--verbose 0", "verbose", "2"}, // the 0 belongs to nothing
		{"--hflip", "hflip", "1"},
		{"--hflip=off", "hflip", "off"},
		{"--hdr", "hdr", "auto"},
		{"list-cameras", "list-cameras", "0"},
		{"--framerate", "", "the required argument for option '--framerate' is missing"},
		{"-o -n", "", "the required argument for option '--output' is missing"},
		{"--width 640 --width 320", "", "option '--width' cannot be specified more than once"},
		{"--width x", "", "the argument ('x') for option '--width' is invalid"},
		{"-q 7.5", "", "the argument ('7.5') for option '--quality' is invalid"},
		{"-nv", "", "the argument ('v') for option '--nopreview' is invalid. Valid choices are 'on|off', 'yes|no', '1|0' and 'true|false'"},
		{"-Z9", "", "unrecognised option '-Z9'"},
		{"--list", "", "option '--list' is ambiguous and matches '--list-cameras', and '--listen'"},
		{"--auto=1", "", "option '--auto=1' is ambiguous and matches '--autofocus-mode', '--autofocus-range', '--autofocus-speed', and '--autofocus-window'"},
	} {
		given, err := parse(t, "1.12.0", test.args)
		switch {
		case test.name == "" && (err == nil || err.Error() != test.want):
			t.Errorf("%s: got error %v\nwant %s", test.args, err, test.want)
		case test.name != "" && (err != nil || given[test.name] != test.want):
			t.Errorf("%s: got %q, %v, want %q", test.args, given[test.name], err, test.want)
		}
	}
}

// Versions know different options.
func TestOptionsOfVersions(t *testing.T) {
	for _, test := range []struct{ arg, versions string }{
		{"--mode=640:480", "0.0 1.0.0 1.1.0 1.2.1 1.3.0 1.12.0"},
		{"--buffer-count=3", "1.1.0 1.2.1 1.3.0 1.12.0"},
		{"--autofocus-mode=auto", "1.1.0 1.2.1 1.3.0 1.12.0"},
		{"--hdr=1", "1.1.0 1.2.1 1.3.0 1.12.0"}, // with another kind of value since 1.3.0
		{"--hdr=auto", "1.3.0 1.12.0"},
		{"--no-raw", "1.3.0 1.12.0"},
		{"--flicker-period=10ms", "1.3.0 1.12.0"},
		{"--timeout=5s", "1.3.0 1.12.0"},
		{"--rawfull", "0.0 1.0.0 1.1.0 1.2.1"},
		{"--low-latency", "1.12.0"},
		{"--ccm=1", "1.12.0"},
	} {
		for _, v := range strings.Fields("0.0 1.0.0 1.1.0 1.2.1 1.3.0 1.12.0") {
			_, err := parse(t, v, test.arg)
			if known := strings.Contains(" "+test.versions+" ", " "+v+" "); known != (err == nil) {
				t.Errorf("%s in %s: got error %v", test.arg, v, err)
			}
		}
	}
}

// Values are refused in the program's words.
func TestWrongValues(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"-t 5h", ""}, // an unknown unit is not looked at
		{"-t h", "Invalid time string provided"},
		{"--shutter x", "Invalid time string provided"},
		{"--rotation 90", "transforms requiring transpose not supported"},
		{"--rotation 45", "illegal rotation value"},
		{"--metering all", "Invalid metering mode: all"},
		{"--autofocus-range near", "Invalid AfRange mode:normal"}, // it names another option's value
		{"--lens-position near", "Invalid lens position: near"},
		{"--lens-position default", ""},
		{"--lens-position 2m", ""},
		{"--awbgains 1", "Invalid AWB gains"},
		{"--mode 640", "Invalid mode"},
		{"--mode 640:480:10:X", "Packing indicator should be P or U"},
		{"--hdr=on", "Invalid HDR option provided: on"},
		{"--codec h265", "unrecognised codec h265"},
		{"--codec MJPEG", ""},
		{"--denoise some", "Invalid denoise mode some"},
		{"--roi 1", ""},
	} {
		given, err := parse(t, "1.12.0", test.args)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if _, err := newSettings(newest, given); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.args, got, test.want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"5000": 5 * time.Second, "5sec": 5 * time.Second, "1.5s": 1500 * time.Millisecond, "2min": 2 * time.Minute, "0": 0, "7x": 7 * time.Millisecond,
	} {
		if got, err := parseDuration(s, time.Millisecond); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", s, got, err, want)
		}
	}
}

// Scores are those that boards print, and the modes that they choose.
func TestChoose(t *testing.T) {
	for _, test := range []struct{ camera, version, args, log, want string }{
		{"imx708", "1.4.0", "--width 1280 --height 720 --framerate 30", "1280:720:12:P(30)\n" +
			"    SRGGB10_CSI2P,1536x864/120.135 - Score: 1100\n" +
			"    SRGGB10_CSI2P,2304x1296/56.0255 - Score: 1400\n" +
			"    SRGGB10_CSI2P,4608x2592/14.3536 - Score: 33592.8\n", "1536x864"},
		{"imx708", "1.4.0", "--width 2304 --height 1296", "2304:1296:12:P\n" +
			"    SRGGB10_CSI2P,1536x864/0 - Score: 3400\n" +
			"    SRGGB10_CSI2P,2304x1296/0 - Score: 1000\n" +
			"    SRGGB10_CSI2P,4608x2592/0 - Score: 1900\n", "2304x1296"},
		{"imx708", "1.12.0", "--mode 4608:2592:10:P --framerate 30", "", "2304x1296"},
		{"imx708", "1.12.0", "--mode 4608:2592:10:P", "", "4608x2592"},
		{"imx708", "1.2.1", "--mode 4608:2592:10:P --framerate 30", "", "4608x2592"},
		{"imx219", "1.12.0", "--framerate 30", "", "640x480"},
		{"imx219", "1.12.0", "--width 1920 --height 1080", "", "1920x1080"},
		{"imx477", "1.12.0", "--framerate 30", "", "2028x1520"},
		{"imx477", "1.12.0", "--framerate 100", "", "1332x990"},
		{"imx477", "1.0.0", "--framerate 100", "", "2028x1520"}, // the rate does not count yet
		{"imx477", "1.1.0", "--framerate 100", "", "1332x990"},
	} {
		chip, wanted := ask(t, test.camera, test.version, test.args)
		var log strings.Builder
		m := chip.choose(wanted, &log)
		if test.log != "" && log.String() != "Mode selection for "+test.log {
			t.Errorf("%s %s: got %s\nwant %s", test.camera, test.args, &log, test.log)
		}
		if got := number(float64(m.width)) + "x" + number(float64(m.height)); got != test.want {
			t.Errorf("%s, %s, %s: got %s, want %s", test.camera, test.version, test.args, got, test.want)
		}
	}
}

// ask returns a sensor, and what a version asks it for.
func ask(t *testing.T, camera, ofVersion, args string) (sensor, request) {
	t.Helper()
	given, err := parse(t, ofVersion, args)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := parseVersion(ofVersion)
	s, err := newSettings(v, given)
	if err != nil {
		t.Fatal(err)
	}
	chip, err := newSensor(camera, v, false)
	if err != nil {
		t.Fatal(err)
	}
	return chip, newRequest(v, s)
}
