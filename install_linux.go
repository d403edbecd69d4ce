package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	thisHost.install = func(ctx context.Context, args []string, o options, out io.Writer) error {
		os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin") // which su leaves out
		syscall.Umask(0o022)
		in := installer{user: os.Geteuid(), listen: thisHost.listen, dial: net.DialTimeout, out: log.New(out, "porthole: ", 0)}
		if o.uninstall {
			return in.uninstall()
		}
		return in.install(ctx, args, o)
	}
}

// An installer makes porthole a service of the system, or takes it away.
type installer struct {
	root   string // where the system's files are; "" but in tests
	user   int
	listen listenFunc
	dial   func(network, address string, timeout time.Duration) (net.Conn, error)
	out    *log.Logger
}

// answerLimit is how long the service may take until it listens.
const answerLimit = 10 * time.Second

func (in *installer) install(ctx context.Context, args []string, o options) error {
	s, err := in.prepare("-install", o)
	if err != nil {
		return err
	}
	c, err := configure(args, o)
	if err != nil {
		return err
	}
	upgrade := in.has(s.main)
	if old, _ := os.ReadFile(in.root + s.config); upgrade && strings.Contains(string(old), authVariable+"=") && o.auth == nil {
		return errors.New("-install: the service that is there asks for a password: give -auth again, or take it away first with -uninstall")
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("-install: cannot read this program: %w", err)
	}

	before, err := in.readFiles(s)
	if err != nil {
		return fmt.Errorf("-install: %w", err)
	}
	if err := in.replace(ctx, s, &c, o.listen, program); err != nil {
		return in.undo(s, before, upgrade, fmt.Errorf("-install: %w", err))
	}
	in.report(s, c)
	return nil
}

// prepare checks what must be so before anything is changed.
func (in *installer) prepare(flag string, o options) (service, error) {
	if in.user != 0 {
		return service{}, fmt.Errorf("%s: must be run as root: sudo ./porthole %[1]s", flag)
	}
	s, err := in.findService()
	if err != nil {
		return s, fmt.Errorf("%s: %w", flag, err)
	}
	_, err = loadCertificate(o.tlsCert, o.tlsKey)
	return s, err
}

// configure returns what the service is to run: the arguments without those for other places. Paths
// become absolute.
func configure(args []string, o options) (c configuration, err error) {
	c.auth, c.authView = o.auth, o.authView
	if o.tlsCert != "" {
		if c.cert, err = filepath.Abs(o.tlsCert); err != nil {
			return c, err
		}
		if c.key, err = filepath.Abs(o.tlsKey); err != nil {
			return c, err
		}
	}
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		name, value, given := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if name == "install" || name == "uninstall" || name == "version" {
			continue // these have no value of their own
		}
		if !given {
			i++
			value = args[i]
		}
		switch name {
		case "auth", "auth-view", "tls-cert", "tls-key", "camera":
			continue
		case "listen":
			if path, ok := strings.CutPrefix(value, "unix:"); ok {
				if path, err = filepath.Abs(path); err != nil {
					return c, err
				}
				value = "unix:" + path
			}
		}
		c.flags = append(c.flags, "-"+name, value)
	}
	switch { // it may be $CAMERA
	case o.isURL():
		c.camera = o.camera
	case o.camera != "auto":
		c.flags = append(c.flags, "-camera", o.camera)
	}
	all := append([]string{c.cert, c.key}, c.flags...)
	if strings.ContainsFunc(strings.Join(all, ""), func(r rune) bool { return r < ' ' }) {
		return c, errors.New("-install: a flag has a line break or another control character")
	}
	return c, nil
}

// replace stops the service that may be there, writes all files, and starts it.
func (in *installer) replace(ctx context.Context, s service, c *configuration, addresses []string, program []byte) error {
	if in.has(s.main) {
		if err := runAll(s.stop); err != nil {
			return err
		}
	}
	if err := in.findAddresses(ctx, c, addresses); err != nil {
		return err
	}
	if s.main != unitPath {
		c.user = in.unprivilegedUser(*c)
	}
	files := append(s.files(*c), file{programPath, 0o755, program}, in.announcement(*c))
	if err := in.writeFiles(files); err != nil {
		return err
	}
	err := runAll(s.start)
	if err == nil {
		err = in.awaitAnswer(ctx, c.addresses)
	}
	if err != nil {
		end, _ := runCommand(s.log)
		return fmt.Errorf("%w\n%s", err, end)
	}
	return nil
}

// findAddresses finds where the service will listen. Without -listen it is the port that is free
// now, and stays that.
func (in *installer) findAddresses(ctx context.Context, c *configuration, addresses []string) error {
	if len(addresses) == 0 {
		l, err := openUsual(ctx, in.listen, in.out)
		if err != nil {
			return err
		}
		l.Close()
		c.addresses = []net.Addr{l.Addr()}
		if port := l.Addr().(*net.TCPAddr).Port; usualAddress != fmt.Sprint(":", port) {
			c.flags = append(c.flags, "-listen", fmt.Sprint(":", port))
		}
	}
	for _, address := range addresses {
		l, err := openListener(ctx, in.listen, address)
		if err != nil {
			return err
		}
		l.Close()
		c.addresses = append(c.addresses, l.Addr())
	}
	return nil
}

// awaitAnswer waits until the service takes connections at all its addresses.
func (in *installer) awaitAnswer(ctx context.Context, addresses []net.Addr) error {
	end := time.Now().Add(answerLimit)
	for _, a := range addresses {
		for {
			conn, err := in.dial(a.Network(), a.String(), time.Second)
			if err == nil {
				conn.Close()
				break
			}
			if time.Now().After(end) || !sleep(ctx, 100*time.Millisecond) {
				return fmt.Errorf("the service does not answer: %w", err)
			}
		}
	}
	return nil
}

// undo has everything as it was before, after an error, and returns what to say.
func (in *installer) undo(s service, before []file, upgrade bool, err error) error {
	runAll(s.stop)
	if !upgrade {
		runAll(s.forget)
	}
	left := in.writeFiles(before)
	if upgrade {
		left = errors.Join(left, runAll(s.start))
	} else {
		runAll(s.reload)
	}
	if left != nil {
		return fmt.Errorf("%w\nand not everything is as it was before: %w", err, left)
	}
	return fmt.Errorf("%w\neverything is as it was before", err)
}

// report says what was done, where it can be watched, and how to undo it.
func (in *installer) report(s service, c configuration) {
	user := "a user of its own"
	if s.main != unitPath {
		user, _, _ = strings.Cut(c.user, ":")
		if user == "" {
			user = "root"
		}
	}
	what := fmt.Sprintf("%s runs now and at each boot, started by %s as %s", programPath, s.name, user)
	if flags := c.shellFlags(); flags != "" {
		what += ", with " + flags
	}
	var where []string
	for _, a := range c.addresses {
		where = append(where, urls(c.scheme(), a)...)
	}
	if in.has(avahiPath) {
		where = append(where, "and avahi announces it")
	}
	in.out.Print(what)
	in.out.Print("watch at ", strings.Join(where, " "))
	in.out.Print("to undo this: sudo ", programPath, " -uninstall")
}

// uninstall stops the service and removes all that it has.
func (in *installer) uninstall() error {
	s, err := in.prepare("-uninstall", options{})
	if err != nil {
		return err
	}
	if !in.has(s.main) {
		return fmt.Errorf("-uninstall: there is no porthole that %s starts (no %s)", s.name, s.main)
	}
	if err := errors.Join(runAll(s.stop), runAll(s.forget)); err != nil {
		return fmt.Errorf("-uninstall: nothing was removed: %w", err)
	}
	files, err := in.readFiles(s)
	var gone []string
	for i := range files {
		if files[i].content != nil {
			gone = append(gone, files[i].path)
			files[i].content = nil
		}
	}
	rest := []string{"rm", "-rf", in.root + "/var/cache/porthole", in.root + "/var/cache/private/porthole", in.root + serviceLog}
	err = errors.Join(err, in.writeFiles(files), runAll(s.reload), runAll([][]string{rest}))
	if err != nil {
		return fmt.Errorf("-uninstall: porthole was stopped, but something is left: %w", err)
	}
	in.out.Print("stopped and removed: ", strings.Join(gone, " "))
	return nil
}

// ---- Files and commands

func (in *installer) has(path string) bool {
	_, err := os.Stat(in.root + path)
	return err == nil
}

// readFiles returns the files that a service may have, as they are.
func (in *installer) readFiles(s service) (files []file, err error) {
	for _, path := range []string{s.main, s.config, programPath, avahiPath} {
		f := file{path: path}
		info, err := os.Stat(in.root + path)
		if err == nil {
			f.mode = info.Mode()
			f.content, err = os.ReadFile(in.root + path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// writeFiles writes files, and removes those that are not to be there, as far as it can.
func (in *installer) writeFiles(files []file) (err error) {
	for _, f := range files {
		path := in.root + f.path
		if f.content != nil {
			err = errors.Join(err, writeFile(path, f.mode, f.content))
			continue
		}
		if e := os.Remove(path); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
		if dir := filepath.Dir(path); filepath.Base(dir) == "porthole" {
			os.Remove(dir) // if nothing else is in it
		}
	}
	return err
}

// writeFile puts a new file in the place of one that may be running.
func writeFile(path string, mode fs.FileMode, content []byte) error {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(dir+"."+name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // if it has not got its name
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// runAll runs commands up to the first that fails, and returns what that has printed.
func runAll(commands [][]string) error {
	for _, c := range commands {
		if output, err := runCommand(c); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(c, " "), err, output)
		}
	}
	return nil
}

// runCommand runs a command and returns what it printed. That goes to a file and not a pipe, whose end
// may never come: a script may leave programs running that have it open.
func runCommand(command []string) (string, error) {
	program, err := exec.LookPath(command[0])
	if err != nil {
		return "", err
	}
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		return "", err
	}
	output := os.NewFile(uintptr(fd), "output")
	defer output.Close()
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return "", err
	}
	defer nothing.Close()
	p, err := os.StartProcess(program, command, &os.ProcAttr{Dir: "/", Files: []*os.File{nothing, output, output}})
	if err != nil {
		return "", err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String())
	}
	output.Seek(0, io.SeekStart)
	text, _ := io.ReadAll(output)
	return strings.TrimSpace(string(text)), err
}
