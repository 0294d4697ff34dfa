// Package capture records the frames of a port as a pcapng stream, as in
// draft-ietf-opsawg-pcapng.
//
// A superframe (TCP or UDP segmentation offload) is recorded whole, as it passes
// through the switch and as tcpdump shows it on a Linux device. A checksum that its
// sender left to the device is completed in the copy if all of the frame is kept,
// so that analysers do not call healthy frames broken.
package capture

import (
	"bufio"
	"context"
	"io"
	"runtime"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"weft/frame"
	vswitch "weft/switch"
)

const writeBuffer = 256 << 10

// A Capture takes copies of frames from the switch's workers, as a
// vswitch.Mirror, and writes them on its reader's goroutine.
type Capture struct {
	port string
	snap int
	ring *ring
}

// New makes a Capture that keeps at most snap bytes of each frame; 0: all of it.
func New(port string, snap int) *Capture {
	if snap == 0 {
		snap = frame.MaxLen
	}
	return &Capture{port: port, snap: snap, ring: newRing()}
}

// Mirror implements vswitch.Mirror. It neither blocks nor allocates.
func (c *Capture) Mirror(_ time.Duration, _ vswitch.Direction, bufs []*frame.Buf) {
	now := time.Now() // the file wants the time of day, once per batch
	for _, b := range bufs {
		c.ring.put(now, b, c.snap)
	}
	c.ring.signal()
}

// A Sink is where the stream goes. Flush is called whenever no frame is waiting.
type Sink interface {
	io.Writer
	Flush() error
}

// A Summary says what a capture came to.
type Summary struct {
	Frames  uint64 // in the stream
	Dropped uint64 // lost because the reader was too slow
}

// Run writes the stream until ctx ends, count frames are written (0: no limit) or
// w fails. It has one caller. The statistics block at the stream's end says how
// many frames were lost.
func (c *Capture) Run(ctx context.Context, w Sink, count uint64) (Summary, error) {
	s := stream{sink: w, ring: c.ring, limit: count}
	if err := s.begin(c.port, c.snap); err != nil {
		return s.summary(), err
	}
	for running := true; running && !s.full(); {
		select {
		case <-c.ring.wake:
		case <-ctx.Done():
			running = false // after what came before the end
		}
		if err := s.drain(); err != nil {
			return s.summary(), err
		}
	}
	return s.summary(), s.end()
}

// A stream is the pcapng output of one Run.
type stream struct {
	sink    Sink
	ring    *ring
	ng      *pcapgo.NgWriter
	started time.Time
	limit   uint64
	frames  uint64
}

func (s *stream) full() bool { return s.limit > 0 && s.frames >= s.limit }

func (s *stream) summary() Summary {
	return Summary{Frames: s.frames, Dropped: s.ring.dropped.Load()}
}

// begin writes the section and interface headers, at once: Wireshark waits for them.
func (s *stream) begin(port string, snap int) (err error) {
	s.started = time.Now()
	s.ng, err = pcapgo.NewNgWriterInterface(
		bufio.NewWriterSize(s.sink, writeBuffer),
		pcapgo.NgInterface{
			Name:       port,
			OS:         runtime.GOOS,
			LinkType:   layers.LinkTypeEthernet,
			SnapLength: uint32(snap),
		},
		pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
			Hardware:    runtime.GOARCH,
			OS:          runtime.GOOS,
			Application: "weft",
		}},
	)
	if err != nil {
		return err
	}
	return s.flush()
}

// drain writes the frames that are ready.
func (s *stream) drain() error {
	for !s.full() {
		rec, data := s.ring.next()
		if rec == nil {
			break
		}
		if rec.kept == rec.length {
			complete(data, rec.offload)
		}
		err := s.ng.WritePacket(gopacket.CaptureInfo{
			Timestamp:     rec.time,
			CaptureLength: rec.kept,
			Length:        rec.length,
		}, data)
		s.ring.release(rec)
		if err != nil {
			return err
		}
		s.frames++
	}
	return s.flush()
}

// end writes the interface statistics.
func (s *stream) end() error {
	now := time.Now()
	sum := s.summary()
	err := s.ng.WriteInterfaceStats(0, pcapgo.NgInterfaceStatistics{
		LastUpdate:      now,
		StartTime:       s.started,
		EndTime:         now,
		PacketsReceived: sum.Frames + sum.Dropped,
		PacketsDropped:  sum.Dropped,
	})
	if err != nil {
		return err
	}
	return s.flush()
}

func (s *stream) flush() error {
	if err := s.ng.Flush(); err != nil {
		return err
	}
	return s.sink.Flush()
}
