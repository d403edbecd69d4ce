package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkSlowLink measures how old frames are when they arrive over a slow
// link: of 2 Mbit/s for a client, for three with a fair share of as much each, and
// for three that have to make do with it; and for four over one that is nearly fast
// enough. They are 28 KB each, 30 a second captured. One op is a frame that arrives
// at one of them; run with -benchtime 300x, as root.
func BenchmarkSlowLink(b *testing.B) {
	for _, link := range []struct{ clients, mbit int }{{1, 2}, {3, 6}, {3, 2}, {4, 20}} {
		b.Run(fmt.Sprintf("clients=%d/mbit=%d", link.clients, link.mbit), func(b *testing.B) {
			board := startBoard(b)
			there := addLink(b, board, 0)
			shape(b, board, 0, link.mbit)
			measureAges(b, inNamespace(agesOf(b, "10.0.0.1:5000", link.clients), there))
		})
	}
}

// BenchmarkSlowLinkTLS is BenchmarkSlowLink over TLS.
func BenchmarkSlowLinkTLS(b *testing.B) {
	flags, _ := writeCertificate(b, b.TempDir())
	for _, link := range []struct{ clients, mbit int }{{1, 2}, {3, 6}, {3, 2}, {4, 20}} {
		b.Run(fmt.Sprintf("clients=%d/mbit=%d", link.clients, link.mbit), func(b *testing.B) {
			board := startBoard(b, flags...)
			there := addLink(b, board, 0)
			shape(b, board, 0, link.mbit)
			measureAges(b, inNamespace(agesOf(b, "https://10.0.0.1:5000", link.clients), there))
		})
	}
}

// BenchmarkTwoLinks measures how many frames a client gets over a link of 5 Mbit/s: alone,
// and while four share another link of the board. Run with -benchtime 300x, as root.
func BenchmarkTwoLinks(b *testing.B) {
	for _, other := range []struct{ clients, mbit int }{{0, 1}, {4, 1}, {4, 4}} {
		b.Run(fmt.Sprintf("others=%d/mbit=%d", other.clients, other.mbit), func(b *testing.B) {
			board := startBoard(b)
			there, elsewhere := addLink(b, board, 0), addLink(b, board, 1)
			shape(b, board, 0, 5)
			shape(b, board, 1, other.mbit)
			others := helper(b, "viewers", "10.0.1.1:5000", strconv.Itoa(other.clients))
			startProcess(b, inNamespace(others, elsewhere))
			measureAges(b, inNamespace(agesOf(b, "10.0.0.1:5000", 1), there))
		})
	}
}

// BenchmarkNearAndFar measures how many frames a client gets that has 5 or 20 Mbit/s of a
// link: alone, and while another has 1 Mbit/s of the same link, as it is with a WiFi that the
// board is the access point of. At first it has 1 Mbit/s too, and comes nearer. It also
// reports the frames of the other. Run with -benchtime 300x, as root.
func BenchmarkNearAndFar(b *testing.B) {
	for _, test := range []struct{ near, far int }{{5, 0}, {5, 1}, {20, 0}, {20, 1}} {
		b.Run(fmt.Sprintf("near=%d/far=%d", test.near, test.far), func(b *testing.B) {
			board := startBoard(b)
			there := addLink(b, board, 0)
			shapeNearAndFar(b, board)
			var ages bytes.Buffer
			far := inNamespace(helper(b, "ages", "10.0.0.101:5000", strconv.Itoa(test.far), "1000000"), there)
			far.Stdout = &ages
			if test.far > 0 {
				startProcess(b, far)
			}
			start := time.Now()
			time.AfterFunc(2*time.Second, func() {
				mustRun(b, fmt.Sprintf("tc -n %s qdisc change dev eth0 parent 1:1"+bucket, board, test.near))
			})
			measureAges(b, inNamespace(agesOf(b, "10.0.0.1:5000", 1), there))
			if test.far > 0 {
				took := time.Since(start)
				far.Process.Kill()
				far.Wait()
				b.ReportMetric(float64(bytes.Count(ages.Bytes(), []byte("\n")))/took.Seconds(), "far-frames/s")
			}
		})
	}
}

// ageless is how many frames do not count: the link is empty at first.
const ageless = 30

// agesOf returns a process that prints the ages of as many frames as measureAges takes. It
// waits for porthole.
func agesOf(b *testing.B, address string, clients int) *exec.Cmd {
	return helper(b, "ages", address, strconv.Itoa(clients), strconv.Itoa(ageless+b.N))
}

// measureAges runs a process that prints ages, and reports on them.
func measureAges(b *testing.B, viewer *exec.Cmd) {
	out, err := viewer.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	startProcess(b, viewer)
	lines := bufio.NewScanner(out)
	for range ageless {
		lines.Scan()
	}
	start := time.Now()
	var ages []string
	for lines.Scan() {
		ages = append(ages, lines.Text())
	}
	if len(ages) != b.N {
		b.Fatalf("%d frames came, want %d", len(ages), b.N)
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "frames/s")
	reportAges(b, ages)
}

// reportAges reports median and 99th percentile of ages in microseconds.
func reportAges(b *testing.B, texts []string) {
	var ages []int
	for _, text := range texts {
		age, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		ages = append(ages, age)
	}
	slices.Sort(ages)
	b.ReportMetric(float64(ages[len(ages)/2])/1000, "p50-ms")
	b.ReportMetric(float64(ages[len(ages)*99/100])/1000, "p99-ms")
	b.ReportMetric(0, "ns/op") // is the link
}

// startBoard makes a network namespace, and starts porthole there, with more flags.
func startBoard(b *testing.B, more ...string) (namespace string) {
	if os.Getuid() != 0 {
		b.Skip("needs root, for network namespaces")
	}
	board := addNamespace(b, "board")
	porthole := helper(b, "porthole", append(more, "-camera", "emulated", "-fps", "30", "-listen", ":5000")...)
	porthole.Stderr = nil // it would be among the figures
	startProcess(b, inNamespace(porthole, board))
	return board
}

// addNamespace makes a network namespace, which ends with the benchmark.
func addNamespace(b *testing.B, name string) string {
	name = fmt.Sprintf("porthole-%d-%s", os.Getpid(), name)
	b.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
	mustRun(b, "ip netns add "+name)
	return name
}

// addLink links the board's interface eth0, 1 or so to a new namespace: 10.0.0.1 and
// 10.0.0.101, or 10.0.1.1 and so on, to 10.0.0.2.
func addLink(b *testing.B, board string, number int) (there string) {
	there = addNamespace(b, strconv.Itoa(number))
	dev, net := fmt.Sprintf("eth%d", number), fmt.Sprintf("10.0.%d.", number)
	mustRun(b, "ip -n "+board+" link add "+dev+" type veth peer name eth0 netns "+there)
	mustRun(b, "ip -n "+board+" addr add "+net+"1/24 dev "+dev)
	mustRun(b, "ip -n "+board+" addr add "+net+"101/24 dev "+dev)
	mustRun(b, "ip -n "+there+" addr add "+net+"2/24 dev eth0")
	mustRun(b, "ip -n "+board+" link set "+dev+" up")
	mustRun(b, "ip -n "+there+" link set eth0 up")
	mustRun(b, "ip -n "+board+" route change "+net+"0/24 dev "+dev+" congctl cubic") // as boards have it
	return there
}

// bucket is the qdisc of a slow link of so many Mbit/s.
const bucket = " tbf rate %dmbit burst 32kbit latency 100ms"

// shape gives a link of the board a rate.
func shape(b *testing.B, board string, number, mbit int) {
	mustRun(b, fmt.Sprintf("tc -n %s qdisc add dev eth%d root"+bucket, board, number, mbit))
}

// shapeNearAndFar gives the clients of 10.0.0.1 and those of 10.0.0.101 1 Mbit/s each.
func shapeNearAndFar(b *testing.B, board string) {
	tc := "tc -n " + board
	mustRun(b, tc+" qdisc add dev eth0 root handle 1: htb default 1")
	for class := 1; class <= 2; class++ {
		mustRun(b, fmt.Sprintf(tc+" class add dev eth0 parent 1: classid 1:%d htb rate 1gbit quantum 3000", class))
		mustRun(b, fmt.Sprintf(tc+" qdisc add dev eth0 parent 1:%d"+bucket, class, 1))
	}
	mustRun(b, tc+" filter add dev eth0 parent 1: protocol ip u32 match ip src 10.0.0.101 flowid 1:2")
}

// mustRun runs a command, without which the benchmark is skipped.
func mustRun(b *testing.B, line string) {
	words := strings.Fields(line)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		b.Skipf("%s: %v: %s", line, err, out)
	}
}

// inNamespace has cmd run in a network namespace.
func inNamespace(cmd *exec.Cmd, namespace string) *exec.Cmd {
	in := exec.Command("ip", append([]string{"netns", "exec", namespace}, cmd.Args...)...)
	in.Env, in.Stderr = cmd.Env, cmd.Stderr
	return in
}
