package main

import (
	"fmt"
	"strconv"
	"strings"
)

// What changed when. The dates are those of the changes in the program's sources,
// github.com/raspberrypi/rpicam-apps: numbers are pull requests there, unless something
// else is said. Before November 2022 releases had no numbers (issue 402). Where we found no
// exact release, the first one is named that surely has the change.
//
//	0.0    Nov 2021  --mode (167, merged with libcamera's part soon after), --frames (165)
//	       Jan 2022  --list-cameras, with sizes alone (issue 215); --camera (147)
//	1.0.0  Jul 2022  --list-cameras with rates and crops (312); build of 19 Oct 2022
//	1.1.0  Nov 2022  without --mode, the asked --framerate counts for the choice of a mode;
//	                 there is no default for it any more: 30 only where one is needed (403)
//	       Nov 2022  --buffer-count, --viewfinder-buffer-count (412)
//	       Nov 2022  --autofocus-mode -range -speed -window (411), --lens-position (417)
//	       Jan 2023  --hdr, a number, for the IMX708
//	1.2.1  Jul 2023  an empty line after each camera in the list; with -v its controls
//	                 (issue 533); build of 17 Jul 2023
//	1.3.0  Jul 2023  --flicker-period (544)
//	       Sep 2023  --timeout and --shutter may have units; --rawfull is gone;
//	                 --mode is a wish like the picture's size, not an order: the nearest
//	                 mode is taken, and with --framerate a slow one loses (560)
//	       Oct 2023  --no-raw (581); with it, --mode has no effect
//	       Oct 2023  --hdr off, auto, sensor, single-exp (582)
//	       Oct 2023  bit depth and order of colours in the list; programs are named rpicam-*
//	1.4.0  Dec 2023  buffers come from a DMA heap: core/dma_heaps.cpp
//	1.5.3  Oct 2024  --version tells capabilities (730), and the number at latest in 1.6.0
//	1.7.0  Apr 2025  --low-latency, --sync, --post-process-libs, --lores-par, at latest
//	1.10.0 Nov 2025  --ccm, --preview-libs, --encoder-libs, at latest
//
// Unchanged from 1.0.0 to 1.12.0: names, short names and defaults of all other options.
// Numbers are not checked against ranges: brightness is cut to -1..1, and contrast,
// saturation and sharpness to 0..15.99. With --verbose=0 libcamera says nothing, and the
// program only its errors. Six buffers of each kind are the default.
var (
	ratesInList    = version{1, 0, 0}
	rateForMode    = version{1, 1, 0}
	controlsInList = version{1, 2, 1}
	bookworm       = version{1, 3, 0} // all that came with the support of the Pi 5
	dmaHeaps       = version{1, 4, 0}
	capabilities   = version{1, 5, 3}
	april2025      = version{1, 7, 0}
	trixie         = version{1, 9, 0}
	november2025   = version{1, 10, 0}
	newest         = version{1, 12, 0}
)

// A version is that of a release.
type version struct{ major, minor, patch int }

// parseVersion takes "1.12.0", also with a name before it and with the end left out.
func parseVersion(s string) (v version, err error) {
	_, number, found := strings.Cut(s, " ")
	if !found {
		number = s
	}
	fields := strings.SplitN(number, ".", 3)
	for i, part := range []*int{&v.major, &v.minor, &v.patch} {
		if i >= len(fields) {
			break
		}
		if *part, err = strconv.Atoi(fields[i]); err != nil {
			return v, fmt.Errorf("no version: %q", s)
		}
	}
	return v, nil
}

// since reports whether a version is w or came after it.
func (v version) since(w version) bool {
	switch {
	case v.major != w.major:
		return v.major > w.major
	case v.minor != w.minor:
		return v.minor > w.minor
	default:
		return v.patch >= w.patch
	}
}

func (v version) String() string {
	return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
}

// A build is what --version tells of one that was published.
type build struct{ commit, libcamera string }

var builds = map[version]build{
	{1, 0, 0}:  {"b89cc36c3872 19-10-2022 (13:11:40)", "v0.0.1+21-7c855784"},
	{1, 2, 1}:  {"7e4d3d71867f 17-07-2023 (07:34:42)", "v0.0.5+83-bde9b04f"},
	{1, 7, 0}:  {"5a3f5965aca9 30-04-2025 (11:42:35)", "v0.5.0+rpt20250429"},
	{1, 10, 0}: {"24906da670e9 04-11-2025 (10:35:52)", "v0.5.2+99-bfd68f78"},
	{1, 11, 1}: {"8b7be4ebfe18 24-02-2026 (19:30:43)", "v0.0.0+6157-91924454"},
	{1, 12, 0}: {"ea1bbcbea049 14-05-2026 (08:13:45)", "v0.7.1+rpt20260429+1-ebac948d"},
}

// unknownBuild is what one tells that was made without a repository.
var unknownBuild = build{"000000000000-invalid 01-01-2024 (00:00:00)", "v0.0.0"}

// text returns what --version prints.
func (v version) text() string {
	b, ok := builds[v]
	if !ok {
		b = unknownBuild
	}
	switch {
	case v.since(capabilities):
		return fmt.Sprintf("rpicam-apps build: v%v %s\nrpicam-apps capabilites: egl:1 qt:1 drm:1 libav:1\nlibcamera build: %s\n",
			v, b.commit, b.libcamera)
	case v.since(bookworm):
		return fmt.Sprintf("rpicam-apps build: %s\nlibcamera build: %s\n", b.commit, b.libcamera)
	default:
		return fmt.Sprintf("libcamera-apps build: %s\nlibcamera build: %s\n", b.commit, b.libcamera)
	}
}
