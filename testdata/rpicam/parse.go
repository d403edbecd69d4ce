package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// values are those of all options, by their long names.
type values map[string]string

// flag returns false also for an option that the version does not know.
func (v values) flag(name string) bool {
	value, known := v[name]
	on, _ := parseBool(value)
	return known && on
}

func (v values) natural(name string) int   { n, _ := parseNatural(v[name]); return int(n) }
func (v values) integer(name string) int   { n, _ := strconv.Atoi(v[name]); return n }
func (v values) float(name string) float64 { f, _ := strconv.ParseFloat(v[name], 32); return f }

// parseArguments reads arguments as Boost.Program_options does with its default style:
// long names may be cut as long as they remain unique, values stand behind = or follow, or
// stick to a short name. Options with an implicit value do not take what follows. What
// belongs to no option is not looked at.
func parseArguments(known []option, args []string) (values, error) {
	given := make(values)
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		o, value, attached, err := splitArgument(known, arg)
		if err != nil {
			return nil, err
		}
		if o == nil {
			continue
		}
		switch {
		case attached:
		case o.implicit != "":
			value = o.implicit
		case len(args) == 0 || isShort(known, args[0]):
			return nil, fmt.Errorf("the required argument for option '--%s' is missing", o.name)
		default:
			value, args = args[0], args[1:]
		}
		if err := o.check(value); err != nil {
			return nil, err
		}
		if _, twice := given[o.name]; twice {
			return nil, fmt.Errorf("option '--%s' cannot be specified more than once", o.name)
		}
		given[o.name] = value
	}
	for _, o := range known {
		if _, ok := given[o.name]; !ok {
			given[o.name] = o.standard
		}
	}
	return given, nil
}

// splitArgument returns the option that an argument names, nil if it is no name, and the
// value that is attached to it.
func splitArgument(known []option, arg string) (o *option, value string, attached bool, err error) {
	switch {
	case strings.HasPrefix(arg, "--"):
		name, value, attached := strings.Cut(arg[2:], "=")
		o, err := findLong(known, name, arg)
		return o, value, attached, err
	case len(arg) >= 2 && arg[0] == '-':
		i := slices.IndexFunc(known, func(o option) bool { return o.short == arg[1:2] })
		if i < 0 {
			return nil, "", false, unrecognised(arg)
		}
		return &known[i], arg[2:], len(arg) > 2, nil
	default:
		return nil, "", false, nil
	}
}

func unrecognised(arg string) error { return fmt.Errorf("unrecognised option '%s'", arg) }

// findLong finds an option by its name or the beginning of that.
func findLong(known []option, name, arg string) (*option, error) {
	var found []int
	for i, o := range known {
		if o.name == name {
			return &known[i], nil
		}
		if strings.HasPrefix(o.name, name) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return nil, unrecognised(arg)
	case 1:
		return &known[found[0]], nil
	}
	var names []string
	for _, i := range found {
		names = append(names, "'--"+known[i].name+"'")
	}
	slices.Sort(names)
	last := len(names) - 1
	return nil, fmt.Errorf("option '%s' is ambiguous and matches %s, and %s", arg, strings.Join(names[:last], ", "), names[last])
}

// isShort reports whether an argument is exactly the short name of an option. Boost takes
// no other name for the end of an option's value.
func isShort(known []option, arg string) bool {
	return len(arg) == 2 && arg[0] == '-' && slices.ContainsFunc(known, func(o option) bool { return o.short == arg[1:] })
}

// check checks that a value can be read at all.
func (o *option) check(value string) error {
	var err error
	var more string
	switch o.kind {
	case flagKind:
		_, err = parseBool(value)
		more = ". Valid choices are 'on|off', 'yes|no', '1|0' and 'true|false'"
	case naturalKind:
		_, err = parseNatural(value)
	case integerKind:
		_, err = strconv.Atoi(value)
	case floatKind:
		_, err = strconv.ParseFloat(value, 32)
	}
	if err != nil {
		return fmt.Errorf("the argument ('%s') for option '--%s' is invalid%s", value, o.name, more)
	}
	return nil
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "", "on", "yes", "1", "true":
		return true, nil
	case "off", "no", "0", "false":
		return false, nil
	}
	return false, errors.New("no boolean")
}

// parseNatural reads a number as C++ reads one without a sign: -1 is the largest one.
func parseNatural(s string) (uint32, error) {
	digits, negative := strings.CutPrefix(s, "-")
	if !negative {
		digits, _ = strings.CutPrefix(s, "+")
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if negative {
		n = -n
	}
	return uint32(n), err
}
