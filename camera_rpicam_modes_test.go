//go:build linux && (arm || arm64)

package main

import (
	"slices"
	"strings"
	"testing"
)

// What rpicam-vid --list-cameras prints, by sensor.
var sensorLists = map[string]string{
	"ov5647": `0 : ov5647 [2592x1944 10-bit GBRG] (/base/soc/i2c0mux/i2c@1/ov5647@36)
    Modes: 'SGBRG10_CSI2P' : 640x480 [58.92 fps - (16, 0)/2560x1920 crop]
                             1296x972 [46.34 fps - (0, 0)/2592x1944 crop]
                             1920x1080 [32.81 fps - (348, 434)/1928x1080 crop]
                             2592x1944 [15.63 fps - (0, 0)/2592x1944 crop]
`,
	"imx219": `0 : imx219 [3280x2464 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx219@10)
    Modes: 'SRGGB10_CSI2P' : 640x480 [103.33 fps - (1000, 752)/1280x960 crop]
                             1640x1232 [41.85 fps - (0, 0)/3280x2464 crop]
                             1920x1080 [47.57 fps - (680, 692)/1920x1080 crop]
                             3280x2464 [21.19 fps - (0, 0)/3280x2464 crop]
           'SRGGB8' : 640x480 [103.33 fps - (1000, 752)/1280x960 crop]
                      1640x1232 [83.70 fps - (0, 0)/3280x2464 crop]
                      1920x1080 [47.57 fps - (680, 692)/1920x1080 crop]
                      3280x2464 [21.19 fps - (0, 0)/3280x2464 crop]
`,
	"imx477": `0 : imx477 [4056x3040 12-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx477@1a)
    Modes: 'SRGGB10_CSI2P' : 1332x990 [120.05 fps - (696, 528)/2664x1980 crop]
           'SRGGB12_CSI2P' : 2028x1080 [50.03 fps - (0, 440)/4056x2160 crop]
                             2028x1520 [40.01 fps - (0, 0)/4056x3040 crop]
                             4056x3040 [10.00 fps - (0, 0)/4056x3040 crop]
`,
	"imx708": `0 : imx708_wide [4608x2592 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx708@1a)
    Modes: 'SRGGB10_CSI2P' : 1536x864 [120.13 fps - (768, 432)/3072x1728 crop]
                             2304x1296 [56.03 fps - (0, 0)/4608x2592 crop]
                             4608x2592 [14.35 fps - (0, 0)/4608x2592 crop]
`,
	"imx477 in 2021": `0 : imx477 [4056x3040] (/base/soc/i2c0mux/i2c@1/imx477@1a)
    Modes: 'SRGGB10_CSI2P' : 1332x990 
           'SRGGB12_CSI2P' : 2028x1080 2028x1520 4056x3040 
`,
	"imx708 in use": `0 : imx708 [4608x2592 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx708@1a)
    Modes: 'SRGGB10_CSI2P' : 1536x864 [30.00 fps - (65535, 65535)/65535x65535 crop]
                             2304x1296 [30.00 fps - (65535, 65535)/65535x65535 crop]
                             4608x2592 [30.00 fps - (65535, 65535)/65535x65535 crop]
`,
	"without an array": `0 : odd [10-bit] (/base/odd@36)
    Modes: 'SGBRG10_CSI2P' : 640x480 [nan fps - (0, 0)/0x0 crop]
                             0x0 [58.92 fps - (16, 0)/2560x1920 crop]
                             99999999999x1 [58.92
`,
}

// modesOf returns the modes of a sensor that can be chosen.
func modesOf(t *testing.T, sensor string) []sensorMode {
	t.Helper()
	sensors := parseSensors("Available cameras\n-----------------\n" + sensorLists[sensor])
	if len(sensors) != 1 {
		t.Fatalf("%s: got %d cameras, want 1", sensor, len(sensors))
	}
	return usefulModes(sensors[0].modes)
}

func TestRpicamModesDescribed(t *testing.T) {
	for sensor, want := range map[string]string{
		"ov5647": `640x480, 99 % of the width and height, up to 58 fps
1296x972, whole field of view, up to 46 fps
1920x1080, 74 % of the width, 56 % of the height, up to 32 fps
2592x1944, whole field of view, up to 15 fps`,
		"imx219": `640x480, 39 % of the width and height, up to 103 fps
1640x1232, whole field of view, up to 41 fps
1640x1232 with 8 bits, whole field of view, up to 83 fps
1920x1080, 59 % of the width, 44 % of the height, up to 47 fps
3280x2464, whole field of view, up to 21 fps`,
		"imx477": `1332x990, 66 % of the width, 65 % of the height, up to 120 fps
2028x1080, 71 % of the height, up to 50 fps
2028x1520, whole field of view, up to 40 fps
4056x3040, whole field of view, up to 10 fps`,
		"imx708": `1536x864, 67 % of the width and height, up to 120 fps
2304x1296, whole field of view, up to 56 fps
4608x2592, whole field of view, up to 14 fps`,
		"imx477 in 2021": `1332x990, field of view not known
2028x1080, field of view not known
2028x1520, whole field of view
4056x3040, whole field of view`,
		"imx708 in use": `1536x864, field of view not known
2304x1296, whole field of view
4608x2592, whole field of view`,
		"without an array": "640x480, field of view not known",
	} {
		if got := strings.Join(describeModes(modesOf(t, sensor)), "\n"); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", sensor, got, want)
		}
	}
}

func TestRpicamModeChosen(t *testing.T) {
	for _, test := range []struct {
		sensor        string
		width, height int
		fps           float64
		want          string
	}{
		{"ov5647", 640, 480, 30, "1296:972:10:P"},
		{"imx219", 640, 480, 30, "1640:1232:10:P"},
		{"imx477", 640, 480, 30, "2028:1520:12:P"},
		{"imx708", 640, 480, 30, "2304:1296:10:P"},
		{"imx219", 640, 480, 60, "1640:1232:8:U"},      // at that rate with fewer bits only
		{"imx219", 640, 480, 100, "1640:1232:8:U"},     // the fastest that sees everything
		{"imx708", 1280, 720, 120, "2304:1296:10:P"},   // none is so fast
		{"imx477", 1920, 1080, 40.3, "2028:1520:12:P"}, // within 1 %
		{"imx219", 1920, 1080, 10, "3280:2464:10:P"},   // as large as the picture
		{"imx219", 1920, 1080, 30, "1640:1232:10:P"},   // the rate goes before the size
		{"imx708", 4608, 2592, 10, "4608:2592:10:P"},
		{"imx477 in 2021", 640, 480, 30, "2028:1520:12:P"},
		{"imx708 in use", 640, 480, 30, "2304:1296:10:P"},
		{"without an array", 640, 480, 30, ""},
	} {
		modes, got := modesOf(t, test.sensor), ""
		if i := chooseMode(modes, test.width, test.height, test.fps); i >= 0 {
			got = modes[i].argument()
		}
		if got != test.want {
			t.Errorf("%s at %dx%d and %v fps: got mode %q, want %q", test.sensor, test.width, test.height, test.fps, got, test.want)
		}
	}
}

func TestRpicamCutOff(t *testing.T) {
	for _, test := range []struct {
		sensor, mode  string
		width, height int
		want          string
	}{
		{"imx708", "2304x1296", 640, 480, "640x480 cuts off 25 % of the width: 640x360 shows all"},
		{"imx708", "2304x1296", 640, 360, ""},
		{"imx219", "1640x1232", 640, 480, ""}, // 0.2 %
		{"imx219", "1640x1232", 1280, 720, "1280x720 cuts off 25 % of the height: 1280x962 shows all"},
		{"imx477", "2028x1080", 640, 480, "640x480 cuts off 29 % of the width: 640x340 shows all"},
		{"imx477 in 2021", "2028x1080", 640, 480, ""}, // not known
	} {
		modes := modesOf(t, test.sensor)
		i := slices.IndexFunc(modes, func(m sensorMode) bool { return m.size() == test.mode })
		if got := modes[i].cutOff(test.width, test.height); got != test.want {
			t.Errorf("%s in mode %s: got %q, want %q", test.sensor, test.mode, got, test.want)
		}
	}
}

func TestRpicamCameras(t *testing.T) {
	program := &piProgram{path: "/usr/bin/rpicam-vid", Sensors: sensorLists["imx219"] + "\n1" + strings.TrimPrefix(sensorLists["imx708"], "0")}
	for which, want := range map[string]string{
		"":            "imx219",
		"0":           "imx219",
		"1":           "imx708_wide",
		"imx708":      "imx708_wide",
		"imx708_wide": "imx708_wide",
		"2":           "-camera pi:2: must be one of pi:0 (imx219), pi:1 (imx708_wide)",
		"imx477":      "-camera pi:imx477: must be one of pi:0 (imx219), pi:1 (imx708_wide)",
		"-1":          "-camera pi:-1: must be one of pi:0 (imx219), pi:1 (imx708_wide)",
	} {
		s, err := program.choose(which)
		if err != nil && err.Error() != want || err == nil && s.name != want {
			t.Errorf("pi:%s: got %q, error %v, want %q", which, s.name, err, want)
		}
	}
	silent := &piProgram{path: "/usr/bin/rpicam-vid"}
	if s, err := silent.choose("1"); err != nil || s.index != 1 {
		t.Errorf("of a program that lists none: got %+v, error %v, want camera 1", s, err)
	}
	if _, err := silent.choose("imx477"); err == nil {
		t.Error("of a program that lists none, imx477 was found")
	}
}

func FuzzRpicamList(f *testing.F) {
	for _, list := range sensorLists {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		for _, s := range parseSensors(list) {
			modes := usefulModes(s.modes)
			describeModes(modes)
			if i := chooseMode(modes, 640, 480, 30); i >= 0 {
				modes[i].cutOff(640, 480)
			}
		}
	})
}
