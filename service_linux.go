package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	programPath     = "/usr/local/bin/porthole"
	unitPath        = "/etc/systemd/system/porthole.service"
	environmentPath = "/etc/porthole/environment"
	openrcPath      = "/etc/init.d/porthole"
	openrcConfig    = "/etc/conf.d/porthole"
	initConfig      = "/etc/default/porthole"
	avahiPath       = "/etc/avahi/services/porthole.service"
	serviceLog      = "/var/log/porthole.log" // without systemd
)

//go:embed packaging/systemd/porthole.service
var systemdUnit string

//go:embed packaging/openrc/porthole
var openrcScript string

//go:embed packaging/init.d/S50porthole
var initScript string

// A service is how a system starts porthole at boot.
type service struct {
	name   string
	main   string // the file that makes porthole one
	config string // the file with the passwords
	start  [][]string
	stop   [][]string
	forget [][]string // before the files are removed, after stop
	reload [][]string // after that
	log    []string   // prints the end of the log

	// files returns the other files.
	files func(configuration) []file
}

// A configuration is what a service is to run.
type configuration struct {
	flags     []string // without passwords and certificate
	auth      *string
	authView  *string
	camera    string // if it is a URL, which may have a password
	cert, key string // "" without TLS
	addresses []net.Addr
	user      string // and group, of an init script; "" is root
}

// A file is one that -install writes.
type file struct {
	path    string
	mode    fs.FileMode
	content []byte // nil: there is to be none
}

// findService returns how this system starts services.
func (in *installer) findService() (service, error) {
	runs := func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	}
	switch {
	case in.has("/run/systemd/system"): // sd_booted(3)
		return systemdService, nil
	case in.has("/run/openrc") && runs("rc-service"):
		return openrcService, nil
	case in.has("/etc/init.d") && runs("start-stop-daemon") && runs("update-rc.d"):
		s := in.scriptService("/etc/init.d/porthole")
		s.start = append([][]string{{"update-rc.d", "porthole", "defaults"}}, s.start...)
		s.reload = [][]string{{"update-rc.d", "porthole", "remove"}}
		return s, nil
	case in.has("/etc/init.d/rcS") && runs("start-stop-daemon"): // it runs all that begins with S
		return in.scriptService("/etc/init.d/S50porthole"), nil
	}
	return service{}, errors.New("this system has neither systemd, OpenRC nor start-stop-daemon with scripts in /etc/init.d: have it start porthole in its own way")
}

// forgetFailures has a pattern, for which there may be no unit.
var forgetFailures = []string{"systemctl", "reset-failed", "porthole.servic[e]"}

var systemdService = service{
	name:   "systemd",
	main:   unitPath,
	config: environmentPath,
	start: [][]string{
		{"systemctl", "daemon-reload"},
		{"systemctl", "--quiet", "enable", "porthole"},
		forgetFailures, // or it may have been started too often
		{"systemctl", "restart", "porthole"},
	},
	stop:   [][]string{{"systemctl", "stop", "porthole"}},
	forget: [][]string{{"systemctl", "--quiet", "disable", "porthole"}},
	reload: [][]string{{"systemctl", "daemon-reload"}, forgetFailures},
	log:    []string{"journalctl", "-q", "-n", "3", "-o", "cat", "_SYSTEMD_UNIT=porthole.service"},
	files:  systemdFiles,
}

// systemdFiles adds to the unit what it is to run. The user that systemd makes for it may not read
// the files of the certificate, so systemd does.
func systemdFiles(c configuration) []file {
	var before, flags string
	for _, f := range c.flags {
		flags += " " + unitQuote(f)
	}
	if c.environment("") != nil {
		before += "EnvironmentFile=" + environmentPath + "\n"
	}
	if c.cert != "" {
		flags += " -tls-cert ${CREDENTIALS_DIRECTORY}/cert.pem -tls-key ${CREDENTIALS_DIRECTORY}/key.pem"
		path := strings.NewReplacer("%", "%%")
		before += "LoadCredential=cert.pem:" + path.Replace(c.cert) + "\nLoadCredential=key.pem:" + path.Replace(c.key) + "\n"
	}
	const start = "ExecStart=" + programPath
	unit := strings.Replace(systemdUnit, start, before+start+flags, 1)
	if c.privileged() {
		const none, bind = "CapabilityBoundingSet=", "CAP_NET_BIND_SERVICE"
		unit = strings.Replace(unit, none, none+bind+"\nAmbientCapabilities="+bind, 1)
	}
	return []file{{unitPath, 0o644, []byte(unit)}, {environmentPath, 0o600, c.environment("")}}
}

var openrcService = service{
	name:   "OpenRC",
	main:   openrcPath,
	config: openrcConfig,
	start:  [][]string{{"rc-update", "--quiet", "add", "porthole", "default"}, {"rc-service", "porthole", "start"}},
	stop:   [][]string{{"rc-service", "--quiet", "--ifstarted", "porthole", "stop"}},
	forget: [][]string{{"rc-update", "--quiet", "del", "porthole", "default"}},
	log:    []string{"tail", "-n", "3", serviceLog},
	files: func(c configuration) []file {
		settings := shellLine("command_args", c.shellFlags())
		if c.user != "" { // OpenRC takes an empty one for a user
			settings += shellLine("command_user", c.user)
		}
		return []file{
			{openrcPath, 0o755, []byte(openrcScript)},
			{openrcConfig, 0o600, append([]byte(settings), c.environment("export ")...)},
		}
	},
}

// scriptService is a service that a script starts: of BusyBox or SysV init.
func (in *installer) scriptService(path string) service {
	script := in.root + path
	return service{
		name:   "init",
		main:   path,
		config: initConfig,
		start:  [][]string{{script, "start"}},
		stop:   [][]string{{script, "stop"}},
		log:    []string{"tail", "-n", "3", serviceLog},
		files: func(c configuration) []file {
			settings := shellLine("PORTHOLE_ARGS", c.shellFlags()) + shellLine("PORTHOLE_USER", c.user)
			const exec = `EXEC="`
			text := strings.Replace(initScript, exec+"/usr/bin/", exec+"/usr/local/bin/", 1)
			return []file{
				{path, 0o755, []byte(text)},
				{initConfig, 0o600, append([]byte(settings), c.environment("export ")...)},
			}
		},
	}
}

// environment returns lines with the passwords, for a shell and for systemd; nil without any.
func (c configuration) environment(before string) []byte {
	var text string
	if c.auth != nil {
		text += before + shellLine(authVariable, *c.auth)
	}
	if c.authView != nil {
		text += before + shellLine(authViewVariable, *c.authView)
	}
	if c.camera != "" {
		text += before + shellLine(cameraVariable, c.camera)
	}
	if text == "" {
		return nil
	}
	return []byte(text)
}

// shellFlags returns the flags as a shell reads them.
func (c configuration) shellFlags() string {
	flags := c.flags
	if c.cert != "" {
		flags = append(slices.Clip(flags), "-tls-cert", c.cert, "-tls-key", c.key)
	}
	var quoted []string
	for _, f := range flags {
		quoted = append(quoted, shellQuote(f))
	}
	return strings.Join(quoted, " ")
}

// privileged reports whether a port is only for who has the right to it (capabilities(7)).
func (c configuration) privileged() bool {
	return slices.ContainsFunc(c.addresses, func(a net.Addr) bool {
		tcp, ok := a.(*net.TCPAddr)
		return ok && tcp.Port < 1024
	})
}

// unprivilegedUser returns the user and group that an init script can run porthole as: nobody, if
// the group video may use all cameras, and root is needed for nothing else; or "".
func (in *installer) unprivilegedUser(c configuration) string {
	group, nobody := in.idOf("/etc/group", "video"), in.idOf("/etc/passwd", "nobody")
	if group < 0 || nobody < 0 || c.privileged() || c.key != "" || slices.ContainsFunc(c.addresses, isUnix) {
		return ""
	}
	if help, _ := runCommand([]string{"start-stop-daemon", "--help"}); !strings.Contains(help, "-c") {
		return ""
	}
	cameras, _ := filepath.Glob(in.root + "/dev/video*")
	others, _ := filepath.Glob(in.root + "/dev/media*")
	heaps, _ := filepath.Glob(in.root + "/dev/dma_heap/*")
	for _, device := range slices.Concat(cameras, others, heaps) {
		info, err := os.Stat(device)
		if err != nil || int(info.Sys().(*syscall.Stat_t).Gid) != group || info.Mode()&0o060 != 0o060 {
			return ""
		}
	}
	if len(cameras) == 0 { // who knows whom the next one belongs to
		return ""
	}
	return "nobody:video"
}

// idOf returns the number of a user or group, or -1 if there is none.
func (in *installer) idOf(path, name string) int {
	text, _ := os.ReadFile(in.root + path)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(line, ":"); fields[0] == name && len(fields) > 2 {
			if id, err := strconv.Atoi(fields[2]); err == nil {
				return id
			}
		}
	}
	return -1
}

func isUnix(a net.Addr) bool { return a.Network() == "unix" }

// announcement is the file that has avahi announce porthole; without content if nobody else can
// watch, or there is no avahi.
func (in *installer) announcement(c configuration) file {
	f := file{path: avahiPath, mode: 0o644}
	if !in.has(filepath.Dir(avahiPath)) {
		return f
	}
	for _, a := range c.addresses {
		port := openPort(a)
		if port == 0 {
			continue
		}
		f.content = fmt.Appendf(nil, `<?xml version="1.0" standalone="no"?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name replace-wildcards="yes">porthole on %%h</name>
  <service>
    <type>_%s._tcp</type>
    <port>%d</port>
  </service>
</service-group>
`, c.scheme(), port)
		break
	}
	return f
}

func (c configuration) scheme() string {
	if c.cert != "" {
		return "https"
	}
	return "http"
}

// isPlain reports whether a word means itself to a shell and to systemd.
func isPlain(word string) bool {
	return word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+") == ""
}

// unitQuote returns a word as it is written into an ExecStart (systemd.service(5)).
func unitQuote(word string) string {
	if isPlain(word) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", "$$", "%", "%%").Replace(word) + `"`
}

// shellQuote returns a word as it is written for a shell, and into an EnvironmentFile of systemd.
func shellQuote(word string) string {
	if isPlain(word) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(word) + `"`
}

// shellLine is a line that gives a variable of a shell a value.
func shellLine(name, value string) string { return name + "=" + shellQuote(value) + "\n" }
