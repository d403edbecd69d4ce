package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// release is the version. CHANGELOG.md says what is new in it.
const release = "1.0.0"

// version returns the release and, if it is known, the commit that this was built from, as build
// metadata (semver.org, section 10): "1.0.0+0eebad53f26a", or with ".changed" if files were.
// Each answer of /state has it.
var version = sync.OnceValue(func() string {
	settings := buildSettings()
	text := release
	if commit := settings["vcs.revision"]; commit != "" {
		text += "+" + commit[:min(len(commit), 12)]
	}
	if settings["vcs.modified"] == "true" {
		text += ".changed"
	}
	return text
})

// describeVersion returns the version, Go's, and the platform: "linux/arm/v6".
func describeVersion() string {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if arm := buildSettings()["GOARM"]; arm != "" {
		arm, _, _ = strings.Cut(arm, ",") // "6,softfloat"
		platform += "/v" + arm
	}
	return fmt.Sprintf("porthole %s, %s, %s", version(), runtime.Version(), platform)
}

// buildSettings returns what the go command noted about the build. It notes no commit for go run.
func buildSettings() map[string]string {
	settings := make(map[string]string)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	return settings
}
