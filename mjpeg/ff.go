//go:build !arm

package mjpeg

import "bytes"

// indexFF returns the offset of the first FF in b, or -1 if there is none.
func indexFF(b []byte) int { return bytes.IndexByte(b, 0xff) }
