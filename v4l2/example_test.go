//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2_test

import (
	"fmt"
	"log"
	"time"

	"porthole/v4l2"
	"porthole/v4l2/v4l2test"
)

// kernel has a webcam at /dev/video0. A program uses v4l2.Linux{} instead.
var kernel = newExampleKernel()

func newExampleKernel() v4l2.Kernel {
	webcam := v4l2test.NewCamera()
	webcam.Card, webcam.BusInfo = "HD Webcam", "usb-3f980000.usb-1.2"
	webcam.Controls = v4l2test.WebcamControls()
	webcam.Show([]byte("first picture"), []byte("second picture"))
	return v4l2test.NewBoard(map[string]*v4l2test.Camera{"/dev/video0": webcam})
}

// This example takes two pictures. For real cameras, replace kernel by v4l2.Linux{}.
func Example() {
	device, err := v4l2.Open(kernel, "/dev/video0")
	if err != nil {
		log.Fatal(err)
	}
	defer device.Close()
	format, err := device.SetFormat(v4l2.MakeFourCC("MJPG"), v4l2.FrameSize{Width: 640, Height: 480})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("granted %v %dx%d\n", format.PixelFormat, format.Width, format.Height)

	if _, err := device.RequestBuffers(4); err != nil {
		log.Fatal(err)
	}
	if err := device.StreamOn(); err != nil {
		log.Fatal(err)
	}
	var buffer v4l2.Buffer
	for range 2 {
		device.SetDeadline(time.Now().Add(5 * time.Second))
		if err := device.Dequeue(&buffer); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", buffer.Data())
		if err := device.Queue(&buffer); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// granted MJPG 640x480
	// first picture
	// second picture
}

func ExampleQueryNodes() {
	for _, node := range v4l2.QueryNodes(kernel) {
		if node.IsCapture() && !node.FedFromMemory {
			fmt.Println(node.Path, node.Card, node.Formats)
		}
	}
	// Output:
	// /dev/video0 HD Webcam [YUYV MJPG]
}

func ExampleDevice_Controls() {
	device, err := v4l2.Open(kernel, "/dev/video0")
	if err != nil {
		log.Fatal(err)
	}
	defer device.Close()
	controls, err := device.Controls()
	if err != nil {
		log.Fatal(err)
	}
	for _, control := range controls {
		if control.Name != "brightness" {
			continue
		}
		value, err := control.Parse("140")
		if err != nil {
			log.Fatal(err) // "must be from 0 to 255 in steps of 1 (default 128)"
		}
		granted, err := device.SetControlValue(control, value)
		fmt.Println(control.Label, granted, err)
	}
	// Output:
	// Brightness 140 <nil>
}
