//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// IsMenu reports whether the values of the control are the items of its menu.
func (c *Control) IsMenu() bool {
	return c.Type == TypeMenu || c.Type == TypeIntegerMenu
}

// HasDefault reports whether the control can have its default. Some menus have one that
// is not an item.
func (c *Control) HasDefault() bool { return c.Allows(c.Default) }

// Allows reports whether the control can have a value.
func (c *Control) Allows(value int64) bool {
	switch {
	case c.IsMenu():
		return slices.ContainsFunc(c.Menu, func(m MenuItem) bool { return m.Index == value })
	case c.Type == TypeBitmask:
		return value&^c.Max == 0
	}
	return value >= c.Min && value <= c.Max && (uint64(value)-uint64(c.Min))%c.Step == 0
}

// nearest returns the value that a driver sets when it is asked for another one. Some
// cameras have a default that is out of range, or between two steps.
func (c *Control) nearest(value int64) int64 {
	if c.Type == TypeBitmask {
		return value & c.Max
	}
	value = min(max(value, c.Min), c.Max)
	above := (uint64(value) - uint64(c.Min)) % c.Step
	value -= int64(above)
	if above >= c.Step-above && uint64(c.Max)-uint64(value) >= c.Step {
		value += int64(c.Step)
	}
	return value
}

// Parse returns the value that a text stands for: a whole number, "on", "off", "true" or
// "false", the name of an item of a menu, or "default". Upper and lower case are the
// same. If an integer menu has both an item of that number and one that stands for it, the
// item of that number is meant. An error tells what the control can be.
func (c *Control) Parse(text string) (value int64, err error) {
	if n, ok := parseWhole(text); ok && c.Allows(n) {
		return n, nil
	}
	if value, ok := c.parseWord(strings.ToLower(text)); ok {
		return value, nil
	}
	return 0, fmt.Errorf("must be %s", c.choice())
}

// parseWhole returns the whole number that a text is, also if a program has made a
// fraction or a power of ten of it: "140.0", "1.4e2".
func parseWhole(text string) (n int64, ok bool) {
	if n, err := strconv.ParseInt(text, 0, 64); err == nil {
		return n, true
	}
	const exact = 1 << 53 // a float64 has all whole numbers up to this one
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > exact {
		return 0, false
	}
	return int64(f), true
}

// parseWord returns the value that a word in lower case stands for.
func (c *Control) parseWord(word string) (value int64, ok bool) {
	boolean := c.Type == TypeBoolean
	switch {
	case word == "default" && c.HasDefault():
		return c.Default, true
	case boolean && (word == "on" || word == "true"):
		return 1, true
	case boolean && (word == "off" || word == "false"):
		return 0, true
	}
	for _, m := range c.Menu {
		if strings.ToLower(m.Name) == word {
			return m.Index, true
		}
	}
	return 0, false
}

// choice says in words what the control can be.
func (c *Control) choice() string {
	switch {
	case c.IsMenu():
		var items []string
		for _, m := range c.Menu {
			items = append(items, fmt.Sprintf("%d (%s)", m.Index, m.Name))
		}
		choice := "one of " + strings.Join(items, ", ")
		if !c.HasDefault() {
			choice += " (no default)"
		}
		return choice
	case c.Type == TypeBoolean && c.Default == 0:
		return "on or off (default off)"
	case c.Type == TypeBoolean:
		return "on or off (default on)"
	case c.Type == TypeBitmask:
		return fmt.Sprintf("a number with no bits but those of %#x (default %#x)", c.Max, c.Default)
	}
	return fmt.Sprintf("from %d to %d in steps of %d (default %d)", c.Min, c.Max, c.Step, c.Default)
}
