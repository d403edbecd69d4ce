package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lists are as boards print them.
var lists = []struct{ name, version, cameras, fault, want string }{
	{"first", "0.0", "imx477", "", "" +
		"0 : imx477 [4056x3040] (/base/soc/i2c0mux/i2c@1/imx477@1a)\n" +
		"    Modes: 'SRGGB10_CSI2P' : 1332x990 \n" +
		"           'SRGGB12_CSI2P' : 2028x1080 2028x1520 4056x3040 \n"},
	{"with rates", "libcamera-apps 1.0.0", "ov5647", "", "" +
		"0 : ov5647 [2592x1944] (/base/soc/i2c0mux/i2c@1/ov5647@36)\n" +
		"    Modes: 'SGBRG10_CSI2P' : 640x480 [58.92 fps - (16, 0)/2560x1920 crop]\n" +
		"                             1296x972 [43.25 fps - (0, 0)/2592x1944 crop]\n" +
		"                             1920x1080 [30.62 fps - (348, 434)/1928x1080 crop]\n" +
		"                             2592x1944 [15.63 fps - (0, 0)/2592x1944 crop]\n"},
	{"two", "1.12.0", "imx708_wide,imx477", "", "" +
		"0 : imx708_wide [4608x2592 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx708@1a)\n" +
		"    Modes: 'SRGGB10_CSI2P' : 1536x864 [120.13 fps - (768, 432)/3072x1728 crop]\n" +
		"                             2304x1296 [56.03 fps - (0, 0)/4608x2592 crop]\n" +
		"                             4608x2592 [14.35 fps - (0, 0)/4608x2592 crop]\n\n" +
		"1 : imx477 [4056x3040 12-bit RGGB] (/base/soc/i2c0mux/i2c@0/imx477@1a)\n" +
		"    Modes: 'SRGGB10_CSI2P' : 1332x990 [120.05 fps - (696, 528)/2664x1980 crop]\n" +
		"           'SRGGB12_CSI2P' : 2028x1080 [50.03 fps - (0, 440)/4056x2160 crop]\n" +
		"                             2028x1520 [40.01 fps - (0, 0)/4056x3040 crop]\n" +
		"                             4056x3040 [10.00 fps - (0, 0)/4056x3040 crop]\n\n"},
	{"8 bits", "1.12.0", "imx219", "", "" +
		"0 : imx219 [3280x2464 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx219@10)\n" +
		"    Modes: 'SRGGB10_CSI2P' : 640x480 [103.33 fps - (1000, 752)/1280x960 crop]\n" +
		"                             1640x1232 [41.85 fps - (0, 0)/3280x2464 crop]\n" +
		"                             1920x1080 [47.57 fps - (680, 692)/1920x1080 crop]\n" +
		"                             3280x2464 [21.19 fps - (0, 0)/3280x2464 crop]\n" +
		"           'SRGGB8' : 640x480 [103.33 fps - (1000, 752)/1280x960 crop]\n" +
		"                      1640x1232 [41.85 fps - (0, 0)/3280x2464 crop]\n" +
		"                      1920x1080 [47.57 fps - (680, 692)/1920x1080 crop]\n" +
		"                      3280x2464 [21.19 fps - (0, 0)/3280x2464 crop]\n\n"},
	{"in use", "1.5.0", "ov5647", "busy", "" +
		"0 : ov5647 [2592x1944 10-bit GBRG] (/base/soc/i2c0mux/i2c@1/ov5647@36)\n" +
		"    Modes: 'SGBRG10_CSI2P' : 640x480 [30.00 fps - (65535, 65535)/65535x65535 crop]\n" +
		"                             1296x972 [30.00 fps - (65535, 65535)/65535x65535 crop]\n" +
		"                             1920x1080 [30.00 fps - (65535, 65535)/65535x65535 crop]\n" +
		"                             2592x1944 [30.00 fps - (65535, 65535)/65535x65535 crop]\n\n"},
}

func TestList(t *testing.T) {
	for _, test := range lists {
		t.Run(test.name, func(t *testing.T) {
			out, log, status := run(t, env("RPICAM_VERSION="+test.version, "RPICAM_CAMERAS="+test.cameras, "RPICAM_FAIL="+test.fault), "--list-cameras")
			if want := "Available cameras\n-----------------\n" + test.want; out != want || log != "" || status != 0 {
				t.Errorf("got %q\nwant %q\nstatus %d %s", out, want, status, log)
			}
		})
	}
	if out, _, status := run(t, env("RPICAM_CAMERAS="), "--list-cameras"); out != "No cameras available!\n" || status != 0 {
		t.Errorf("without cameras: got %q, status %d", out, status)
	}
}

func TestVersionText(t *testing.T) {
	for version, want := range map[string]string{
		"libcamera-apps 1.2.1": "libcamera-apps build: 7e4d3d71867f 17-07-2023 (07:34:42)\nlibcamera build: v0.0.5+83-bde9b04f\n",
		"rpicam-apps 1.4.2":    "rpicam-apps build: 000000000000-invalid 01-01-2024 (00:00:00)\nlibcamera build: v0.0.0\n",
		"1.7":                  "rpicam-apps build: v1.7.0 5a3f5965aca9 30-04-2025 (11:42:35)\nrpicam-apps capabilites: egl:1 qt:1 drm:1 libav:1\nlibcamera build: v0.5.0+rpt20250429\n",
	} {
		if out, _, status := run(t, env("RPICAM_VERSION="+version), "--version"); out != want || status != 0 {
			t.Errorf("%s: got %q, status %d, want %q", version, out, status, want)
		}
	}
}

// A wrong environment is the tester's mistake: it is no failure of the program's.
func TestWrongEnvironment(t *testing.T) {
	for _, assignment := range []string{"RPICAM_VERSION=new", "RPICAM_CAMERAS=imx1", "RPICAM_START=3", "RPICAM_SETTLE=x", "RPICAM_FAIL=x", "RPICAM_FAIL=die-after"} {
		if _, log, status := run(t, env(assignment), "-n"); status != 2 || !strings.HasPrefix(log, "rpicam stand-in: ") {
			t.Errorf("%s: got status %d, %s", assignment, status, log)
		}
	}
	missing := filepath.Join(t.TempDir(), "nothing", "record")
	if _, log, status := run(t, env("RPICAM_RECORD="+missing), "-n"); status != 2 || !strings.Contains(log, os.ErrNotExist.Error()[:4]) {
		t.Errorf("got status %d, %s", status, log)
	}
}
