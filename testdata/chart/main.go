// Chart draws the first table of what .ci/pizero bench prints, CPU time per
// delivered frame, as a chart.
//
//	.ci/pizero bench >figures.md
//	go run ./testdata/chart <figures.md >testdata/cpu.svg
package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The chart is 720 by 360 units, and this is where its lines are.
const (
	left, right, top, bottom = 56, 570, 48, 312

	mostClients = 40
	mostMicros  = 350
)

// Colours that can be told apart by everyone, on white and on black.
var colours = map[string]string{"the floor, no camera": "#8a8f98", "porthole": "#1684b8", "uStreamer": "#d1701c"}

// A line is a row of the table: microseconds for each number of clients.
type line struct {
	name   string
	micros []float64
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("chart: ")
	clients, lines, err := read(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	draw(os.Stdout, clients, lines)
}

// read reads the first table.
func read(r io.Reader) (clients []float64, lines []line, err error) {
	for s := bufio.NewScanner(r); s.Scan(); {
		row := strings.TrimSpace(s.Text())
		if !strings.HasPrefix(row, "|") {
			if lines != nil {
				return clients, lines, nil
			}
			continue
		}
		cells := strings.Split(strings.Trim(row, "| "), "|")
		if strings.HasPrefix(cells[0], "--") {
			continue
		}
		var numbers []float64
		for _, cell := range cells[1:] {
			n, err := strconv.ParseFloat(strings.TrimSpace(cell), 64)
			if err != nil {
				return nil, nil, err
			}
			numbers = append(numbers, n)
		}
		if clients == nil {
			clients = numbers
		} else {
			lines = append(lines, line{strings.TrimSpace(cells[0]), numbers})
		}
	}
	if lines == nil {
		err = errors.New("no table")
	}
	return clients, lines, err
}

func x(clients float64) float64 { return left + (right-left)*clients/mostClients }
func y(micros float64) float64  { return bottom - (bottom-top)*micros/mostMicros }

func draw(w io.Writer, clients []float64, lines []line) {
	fmt.Fprintln(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 360" font-family="system-ui, sans-serif" font-size="13">
<style>
text { fill: #333 } .grid { stroke: #8886; } .line { fill: none; stroke-width: 2.5 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }
</style>
<text x="56" y="22" font-size="15" font-weight="600">CPU time per delivered frame on an emulated Raspberry Pi Zero, µs</text>`)
	for micros := 0.0; micros <= mostMicros; micros += 50 {
		fmt.Fprintf(w, "<path class=\"grid\" d=\"M%v %.1fH%v\"/><text x=\"%v\" y=\"%.1f\" text-anchor=\"end\">%v</text>\n",
			left, y(micros), right, left-8, y(micros)+4, micros)
	}
	for _, n := range clients {
		fmt.Fprintf(w, "<text x=\"%.1f\" y=\"%v\" text-anchor=\"middle\">%v</text>\n", x(n), bottom+20, n)
	}
	fmt.Fprintf(w, "<text x=\"%v\" y=\"%v\" text-anchor=\"middle\">clients</text>\n", (left+right)/2, bottom+38)
	last := len(clients) - 1
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(b.micros[last], a.micros[last]) })
	label := 0.0
	for _, l := range lines {
		var points strings.Builder
		for i, n := range clients {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(n), y(l.micros[i]))
		}
		colour := colours[l.name]
		fmt.Fprintf(w, "<polyline class=\"line\" stroke=\"%s\" points=\"%s\"/>\n", colour, strings.TrimSpace(points.String()))
		name, _, _ := strings.Cut(l.name, ",")
		label = max(label+16, y(l.micros[last])+4) // below the one before
		fmt.Fprintf(w, "<text x=\"%.1f\" y=\"%.1f\" style=\"fill: %s\">%s, %v</text>\n", x(clients[last])+8, label, colour, name, l.micros[last])
	}
	fmt.Fprintln(w, "</svg>")
}
