package frame_test

import (
	"fmt"

	"weft/frame"
	"weft/frame/frametest"
)

// A superframe leaves by a port whose device cannot segment.
func ExampleBuf_Segment() {
	b := frametest.Superframe{
		Src: frametest.Station(1), Dst: frametest.Station(2),
		GSO: frame.GSOTCPv4, Len: 3000, SegSize: 1460,
	}.Buf()
	if reason := b.CheckOffload(); reason != 0 {
		fmt.Println("dropped:", reason)
	}
	fmt.Println(b.Segments(), "frames, the longest packet", b.PacketLen(), "bytes")

	dst := frame.NewBufs(1)[0]
	for s := b.Segment(0); s.Next(dst); {
		fmt.Println(dst)
	}
	// Output:
	// 3 frames, the longest packet 1500 bytes
	// 52:54:00:00:00:01 > 52:54:00:00:00:02, 1514 bytes, 10.0.0.1:1001 > 10.0.0.2:1002 TCP
	// 52:54:00:00:00:01 > 52:54:00:00:00:02, 1514 bytes, 10.0.0.1:1001 > 10.0.0.2:1002 TCP
	// 52:54:00:00:00:01 > 52:54:00:00:00:02, 134 bytes, 10.0.0.1:1001 > 10.0.0.2:1002 TCP
}
