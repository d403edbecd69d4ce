package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A system is one that porthole is installed on: some files, and programs that write down how they
// were called and do nothing.
type system struct {
	*installer
	out bytes.Buffer
}

// newSystem makes a system that has directories (those whose name ends with /) and files.
func newSystem(t *testing.T, files ...string) *system {
	t.Helper()
	root := t.TempDir()
	for _, name := range append(files, "/bin/", "/var/log/") {
		if err := os.MkdirAll(filepath.Dir(root+name+"x"), 0o755); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			os.Remove(root + name + "x")
			if err := errors.Join(os.MkdirAll(filepath.Dir(root+name), 0o755), os.WriteFile(root+name, nil, 0o755)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", root+"/bin:/bin:/usr/bin")
	for _, command := range []string{"systemctl", "journalctl", "rc-service", "rc-update", "start-stop-daemon"} {
		fakeCommand(t, root, command)
	}
	s := &system{}
	s.installer = &installer{
		root: root,
		out:  log.New(&s.out, "", 0),
		listen: func(_ context.Context, _, address string) (net.Listener, error) {
			a, err := net.ResolveTCPAddr("tcp", address)
			if err == nil && a.IP == nil {
				a.IP = net.IPv6unspecified
			}
			return addressListener{address: a}, err
		},
		dial: func(string, string, time.Duration) (net.Conn, error) {
			conn, _ := net.Pipe()
			return conn, nil
		},
	}
	return s
}

// fakeCommand makes a program that adds its arguments to /calls, and fails if /fail has them.
func fakeCommand(t *testing.T, root, name string) {
	t.Helper()
	if err := os.WriteFile(root+"/bin/"+name, []byte(fakeScript(root, name)), 0o755); err != nil {
		t.Fatal(err)
	}
}

func fakeScript(root, name string) string {
	return fmt.Sprintf(`#!/bin/sh
[ "$1" = --help ] && exec echo "-c USER"
echo "%[1]s $*" >>%[2]s/calls
if grep -qsxF "%[1]s $*" %[2]s/fail; then
	echo "%[1]s is broken"
	exit 1
fi
`, name, root)
}

// addressListener has an address, and accepts nothing.
type addressListener struct {
	net.Listener
	address net.Addr
}

func (l addressListener) Addr() net.Addr { return l.address }
func (l addressListener) Close() error   { return nil }

// installFlags is -install with flags.
func (s *system) installFlags(t *testing.T, flags ...string) error {
	t.Helper()
	s.out.Reset()
	args := append([]string{"-install"}, flags...)
	o, _, err := parseArgs(args, thisHost.drivers)
	if err != nil {
		t.Fatal(err)
	}
	return s.install(t.Context(), args, o)
}

// calls returns how the programs were called since the last time.
func (s *system) calls() string {
	text, _ := os.ReadFile(s.root + "/calls")
	os.Remove(s.root + "/calls")
	return string(text)
}

// fails has a program fail from now on, with these arguments.
func (s *system) fails(t *testing.T, call string) {
	t.Helper()
	if err := os.WriteFile(s.root+"/fail", []byte(call+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// files returns what is in all files of the system, by their names, with the mode before it.
func (s *system) files(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		text, readErr := os.ReadFile(path)
		name := strings.TrimPrefix(path, s.root)
		if name != "/calls" && name != "/fail" {
			all[name] = fmt.Sprintf("%v %s", info.Mode(), text)
		}
		return errors.Join(err, readErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantFiles wants the system to be as it was.
func (s *system) wantFiles(t *testing.T, want map[string]string) {
	t.Helper()
	got := s.files(t)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if got[name] != want[name] {
			t.Errorf("%s is new or has changed", name)
		}
	}
	for name := range want {
		if _, there := got[name]; !there {
			t.Errorf("%s is not there any more", name)
		}
	}
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
	}
}

func TestInstallSystemd(t *testing.T) {
	s := newSystem(t, "/run/systemd/system/", "/etc/avahi/services/", "/etc/systemd/system/other.service")
	before := s.files(t)
	if err := s.installFlags(t, "-size", "320x180", "-set=test_pattern=100% $HOME", "-auth", `an"na:hunter2`); err != nil {
		t.Fatal(err)
	}
	const started = "systemctl daemon-reload\nsystemctl --quiet enable porthole\nsystemctl reset-failed porthole.servic[e]\nsystemctl restart porthole\n"
	wantText(t, "commands", s.calls(), started)
	files := s.files(t)
	unit := strings.Replace(systemdUnit, "ExecStart=/usr/local/bin/porthole", `EnvironmentFile=/etc/porthole/environment
ExecStart=/usr/local/bin/porthole -size 320x180 -set "test_pattern=100%% $$HOME"`, 1)
	wantText(t, "the unit", files["/etc/systemd/system/porthole.service"], "-rw-r--r-- "+unit)
	wantText(t, "the password", files["/etc/porthole/environment"], `-rw------- PORTHOLE_AUTH="an\"na:hunter2"`+"\n")
	if !strings.Contains(files[avahiPath], "<type>_http._tcp</type>\n    <port>5000</port>") {
		t.Errorf("avahi gets %q", files[avahiPath])
	}
	self, _ := os.ReadFile("/proc/self/exe")
	if files[programPath] != "-rwxr-xr-x "+string(self) {
		t.Error("the program is not this one")
	}
	lines := strings.Split(s.out.String(), "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "watch at http://localhost:5000/") || !strings.HasSuffix(lines[2], programPath+" -uninstall") {
		t.Errorf("it says %q", lines)
	}
	if strings.Contains(s.out.String(), "hunter2") {
		t.Error("it prints the password")
	}

	if err := s.installFlags(t, "-fps", "5", "-auth", "anna:new", "-listen", "127.0.0.1:80"); err != nil {
		t.Fatal(err)
	}
	wantText(t, "commands of an upgrade", s.calls(), "systemctl stop porthole\n"+started)
	upgraded := s.files(t)
	if unit := upgraded[unitPath]; !strings.Contains(unit, "/porthole -fps 5 -listen 127.0.0.1:80\n") || !strings.Contains(unit, "AmbientCapabilities=CAP_NET_BIND_SERVICE\n") {
		t.Errorf("after an upgrade, the unit is\n%s", unit)
	}
	if text, there := upgraded[avahiPath]; there {
		t.Errorf("what only this machine can watch is announced: %s", text)
	}
	if err := s.installFlags(t); err == nil || !strings.Contains(err.Error(), "-auth again") {
		t.Errorf("without the password: got %v", err)
	}
	s.wantFiles(t, upgraded)

	s.calls()
	if err := s.uninstall(); err != nil {
		t.Fatal(err)
	}
	wantText(t, "commands of -uninstall", s.calls(), "systemctl stop porthole\nsystemctl --quiet disable porthole\nsystemctl daemon-reload\nsystemctl reset-failed porthole.servic[e]\n")
	s.wantFiles(t, before)
	if s.has("/etc/porthole") {
		t.Error("/etc/porthole is left")
	}
	if err := s.uninstall(); err == nil || !strings.Contains(err.Error(), "there is no porthole that systemd starts") {
		t.Errorf("the second -uninstall: got %v", err)
	}
}

// The service gets the flags in the order in which they were given, and what $CAMERA says.
func TestInstallFlags(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("CAMERA", "emulated")
	args := []string{"--fps=5", "-install=true", "-auth", "anna:-fps", "-listen", "unix:socket", "-set", "a=b", "-set=c=d", "--"}
	o, _, err := parseArgs(args, thisHost.drivers)
	if err != nil {
		t.Fatal(err)
	}
	c, err := configure(args, o)
	want := []string{"-fps", "5", "-listen", "unix:" + dir + "/socket", "-set", "a=b", "-set", "c=d", "-camera", "emulated"}
	if err != nil || !slices.Equal(c.flags, want) {
		t.Errorf("got %q, error %v\nwant %q", c.flags, err, want)
	}
	if _, err := configure([]string{"-set", "a=b\nc"}, o); err == nil {
		t.Error("a line break: it says nothing")
	}
}

// The password of another camera is where only root reads it.
func TestInstallURL(t *testing.T) {
	args := []string{"-install", "-camera", "http://anna:s3cret@cam.lan/stream"}
	o, _, err := parseArgs(args, thisHost.drivers)
	if err != nil {
		t.Fatal(err)
	}
	c, err := configure(args, o)
	if err != nil {
		t.Fatal(err)
	}
	files := systemdFiles(c)
	if unit := string(files[0].content); strings.Contains(unit, "s3cret") || !strings.Contains(unit, "\nEnvironmentFile="+environmentPath+"\n") {
		t.Errorf("the unit is\n%s", unit)
	}
	const want = "CAMERA=http://anna:s3cret@cam.lan/stream\n"
	if got := files[1]; string(got.content) != want || got.mode != 0o600 || got.path != environmentPath {
		t.Errorf("got %s of mode %o with %q, want %q", got.path, got.mode, got.content, want)
	}
}

// systemd reads the certificate, wherever that is.
func TestInstallCertificate(t *testing.T) {
	s := newSystem(t, "/run/systemd/system/")
	dir := t.TempDir()
	t.Chdir(dir)
	writeCertificate(t, dir)
	entries, _ := filepath.Glob("*")
	cert, key := entries[0], entries[1]
	if err := s.installFlags(t, "-tls-cert="+cert, "-tls-key", key); err != nil {
		t.Fatal(err)
	}
	want := "LoadCredential=cert.pem:" + dir + "/" + cert + "\nLoadCredential=key.pem:" + dir + "/" + key +
		"\nExecStart=/usr/local/bin/porthole -tls-cert ${CREDENTIALS_DIRECTORY}/cert.pem -tls-key ${CREDENTIALS_DIRECTORY}/key.pem\n"
	if unit := s.files(t)[unitPath]; !strings.Contains(unit, want) {
		t.Errorf("got %s\nwant in it %s", unit, want)
	}
	before := s.files(t)
	if err := s.installFlags(t, "-tls-cert", cert, "-tls-key", "none"); err == nil {
		t.Error("a key that is not there: it says nothing")
	}
	s.wantFiles(t, before)
}

// Whatever fails, everything is as it was before.
func TestInstallFails(t *testing.T) {
	for _, call := range []string{"systemctl daemon-reload", "systemctl --quiet enable porthole", "systemctl restart porthole", "no answer"} {
		s := newSystem(t, "/run/systemd/system/", "/etc/avahi/services/")
		fail := func() {
			t.Helper()
			before := s.files(t)
			s.fails(t, call)
			want := call + ": exit status 1\nsystemctl is broken"
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			dial := s.dial
			if call == "no answer" {
				want = "the service does not answer: " + io.ErrClosedPipe.Error()
				s.dial = func(string, string, time.Duration) (net.Conn, error) {
					cancel()
					return nil, io.ErrClosedPipe
				}
			}
			o, _, _ := parseArgs([]string{"-install", "-fps=7"}, thisHost.drivers)
			err := s.install(ctx, []string{"-install", "-fps=7"}, o)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", call, err, want)
			}
			s.wantFiles(t, before)
			s.dial = dial
			s.fails(t, "")
		}
		fail()
		if err := s.installFlags(t, "-fps=5"); err != nil {
			t.Fatal(err)
		}
		fail()
	}
}

// The shell of an init script takes flags and passwords as they were given.
func TestInstallScripts(t *testing.T) {
	flags := []string{"-set", `name="$HOME" ; 'x' \ ` + "`id`", "-fps", "5"}
	defer func(script string) { initScript = script }(initScript)
	const auth = `anna:a "$b" \'c'` + "`d`"
	for _, test := range []struct{ marks, config, show, commands, stop string }{
		{"/etc/init.d/rcS", initConfig, "eval set -- $PORTHOLE_ARGS", "script start\n", "script stop\n"},
		{"/run/openrc/", openrcConfig, "eval set -- $command_args", "rc-update --quiet add porthole default\nrc-service porthole start\n",
			"rc-service --quiet --ifstarted porthole stop\nrc-update --quiet del porthole default\n"},
	} {
		s := newSystem(t, test.marks)
		before := s.files(t)
		initScript = fakeScript(s.root, "script") // the real one would use the real /var
		if err := s.installFlags(t, append(flags, "-auth="+auth)...); err != nil {
			t.Fatal(err)
		}
		if calls := s.calls(); !strings.Contains(calls, test.commands) {
			t.Errorf("got commands %s\nwant %s", calls, test.commands)
		}
		output, err := exec.Command("sh", "-c", ". "+s.root+test.config+"\n"+test.show+`; printf '%s\n' "$@"; sh -c 'echo "$PORTHOLE_AUTH"'`).CombinedOutput()
		if err != nil {
			t.Error(err)
		}
		wantText(t, test.config, string(output), strings.Join(flags, "\n")+"\n"+auth+"\n")
		for name, text := range s.files(t) {
			if strings.Contains(text, "$b") && name == test.config && !strings.HasPrefix(text, "-rw------- ") {
				t.Errorf("%s, with the password, is %s", name, text[:10])
			}
		}
		if err := s.uninstall(); err != nil {
			t.Fatal(err)
		}
		if calls := s.calls(); !strings.HasSuffix(calls, test.stop) {
			t.Errorf("got commands %s\nwant %s", calls, test.stop)
		}
		s.wantFiles(t, before)
	}
}

// An init script runs porthole as nobody, if the group video may use all cameras.
func TestInstallUser(t *testing.T) {
	s := newSystem(t, "/run/openrc/", "/dev/video0", "/dev/media0")
	group := fmt.Sprintf("root:x:0:\nvideo:x:%d:\n", os.Getgid())
	if err := errors.Join(os.Mkdir(s.root+"/etc", 0o755), os.WriteFile(s.root+"/etc/group", []byte(group), 0o644),
		os.WriteFile(s.root+"/etc/passwd", []byte("nobody:x:65534:65534::/:/bin/false\n"), 0o644),
		os.Chmod(s.root+"/dev/media0", 0o660), os.Chmod(s.root+"/dev/video0", 0o660)); err != nil {
		t.Fatal(err)
	}
	user := func(want string, flags ...string) {
		t.Helper()
		if err := s.installFlags(t, flags...); err != nil {
			t.Fatal(err)
		}
		if text := s.files(t)[openrcConfig]; !strings.HasSuffix(text, "\n"+want) {
			t.Errorf("%q: got %s, want %s", flags, text, want)
		}
	}
	user("command_user=nobody:video\n")
	user("", "-listen=:80")
	os.Chmod(s.root+"/dev/media0", 0o600)
	user("")
}

func TestInstallPort(t *testing.T) {
	s := newSystem(t, "/run/systemd/system/", "/etc/avahi/services/")
	listen := s.listen
	s.listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		if address == usualAddress {
			return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
		}
		return listen(ctx, network, address)
	}
	if err := s.installFlags(t); err != nil {
		t.Fatal(err)
	}
	files := s.files(t)
	if !strings.Contains(files[unitPath], "/porthole -listen :8080\n") || !strings.Contains(files[avahiPath], "<port>8080<") {
		t.Errorf("got %s\n%s", files[unitPath], files[avahiPath])
	}
	if err := s.installFlags(t, "-listen=:5000"); err == nil || !strings.Contains(err.Error(), ":5000: in use by another program") {
		t.Errorf("got %v", err)
	}
	s.wantFiles(t, files)
}

func TestInstallRefused(t *testing.T) {
	s := newSystem(t, "/etc/init.d/")
	before := s.files(t)
	for _, flag := range []string{"-install", "-uninstall"} {
		s.user = 0
		_, err := s.prepare(flag, options{})
		if want := flag + ": this system has neither systemd, OpenRC nor"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		s.user = 1000
		_, err = s.prepare(flag, options{})
		if want := flag + ": must be run as root: sudo ./porthole " + flag; fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	s.wantFiles(t, before)

	h := thisHost
	h.install = func(context.Context, []string, options, io.Writer) error {
		t.Error("it installs")
		return nil
	}
	for _, args := range [][]string{{"-install", "-fps", "-1"}, {"-install", "x"}, {"-install", "-uninstall"}} {
		if status := run(t.Context(), h, args, io.Discard, io.Discard); status != 2 {
			t.Errorf("%q: got status %d, want 2", args, status)
		}
	}
}
