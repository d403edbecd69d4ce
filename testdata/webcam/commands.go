//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// serveCommands takes commands from whoever connects, one a line, and answers
// each with a line.
func (c *webcam) serveCommands(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				fmt.Fprintln(conn, c.answer(lines.Text()))
			}
		}()
	}
}

// answer does what a command says. The answer begins with "ok" and the time, in
// seconds, at which it was done, or else with "error".
func (c *webcam) answer(command string) string {
	told, err := c.do(command)
	if err != nil {
		return fmt.Sprintf("error: %s: %v", command, err)
	}
	return strings.TrimSpace(fmt.Sprintf("ok %.3f %s", float64(time.Now().UnixMicro())/1e6, told))
}

func (c *webcam) do(command string) (told string, err error) {
	name, argument, _ := strings.Cut(strings.TrimSpace(command), " ")
	switch name {
	case "plug":
		return "", c.plug()
	case "unplug":
		return "", c.unplug()
	case "replug":
		times := 1
		if argument != "" {
			if times, err = strconv.Atoi(argument); err != nil {
				return "", err
			}
		}
		slowest, err := c.replug(times)
		return fmt.Sprintf("slowest %.2f", slowest.Seconds()), err
	case "status":
		return c.status().String(), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if name == "isochronous" {
		c.isochronous, err = parseSwitch(argument)
		return "", err
	}
	return "", c.faults.set(command)
}

func (s counts) String() string {
	state := "quiet"
	if s.streaming {
		state = "streaming"
	}
	return fmt.Sprintf("%s %s %v %d fps, frames %d spoiled %d starts %d",
		state, s.mode.format, s.mode.size, s.mode.fps, s.frames, s.spoiled, s.starts)
}
