package control_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/gopacket/pcapgo"
	"go.uber.org/zap"

	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/client"
	"weft/internal/control/controltest"
	vswitch "weft/switch"
)

// arp is a request of 192.0.2.1, numbered in its sender's address.
func arp(n int) *frame.Buf {
	b := frame.NewBufs(1)[0]
	p := []byte("\xff\xff\xff\xff\xff\xff\x52\x54\x00\x00\x00\x00\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" +
		"\x52\x54\x00\x00\x00\x00\xc0\x00\x02\x01\x00\x00\x00\x00\x00\x00\xc0\x00\x02\x02")
	binary.BigEndian.PutUint32(p[8:], uint32(n))
	b.SetBytes(p)
	return b
}

func start(t *testing.T, c *client.Client, port string, o client.CaptureOptions) *client.Capture {
	t.Helper()
	stream, err := c.Capture(t.Context(), port, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stream.Close)
	return stream
}

// numbers reads a capture to its end and returns its frames' numbers.
func numbers(t *testing.T, stream io.Reader) (got []int, r *pcapgo.NgReader) {
	t.Helper()
	r, err := pcapgo.NewNgReader(stream, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	for {
		p, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return got, r
		}
		if err != nil {
			t.Error(err)
			return got, r
		}
		got = append(got, int(binary.BigEndian.Uint32(p[8:])))
	}
}

func TestCaptureStoppedByClientIsWhole(t *testing.T) {
	e := controltest.New()
	stream := start(t, client.New(controltest.Serve(t, e)), "vm1", client.CaptureOptions{})
	e.AwaitMirror()
	e.Send("vm1", vswitch.Received, arp(1), arp(2))
	e.Send("vm1", vswitch.Transmitted, arp(3))
	e.Send("vm2", vswitch.Received, arp(9)) // not captured
	stream.Stop()
	got, r := numbers(t, stream)
	if fmt.Sprint(got) != "[1 2 3]" {
		t.Errorf("frames %v", got)
	}
	if intf, _ := r.Interface(0); intf.Name != "vm1" || intf.Statistics.PacketsReceived != 3 || intf.Statistics.PacketsDropped != 0 {
		t.Errorf("interface %q with statistics %+v", intf.Name, intf.Statistics)
	}
	if sum := stream.Summary(); sum != (client.CaptureSummary{Frames: 3, End: "stopped by the client"}) {
		t.Errorf("summary %+v", sum)
	}
	e.AwaitMirror() // the mirror is taken out
}

func TestCaptureEnds(t *testing.T) {
	t.Run("at count", func(t *testing.T) {
		e := controltest.New()
		stream := start(t, client.New(controltest.Serve(t, e)), "vm1", client.CaptureOptions{Count: 2, Snap: 20})
		e.AwaitMirror()
		e.Send("vm1", vswitch.Received, arp(1), arp(2), arp(3))
		if got, _ := numbers(t, stream); fmt.Sprint(got) != "[1 2]" {
			t.Errorf("frames %v", got)
		}
		if sum := stream.Summary(); sum.Frames != 2 || sum.End != "count reached" {
			t.Errorf("summary %+v", sum)
		}
	})
	t.Run("with its port", func(t *testing.T) {
		e := controltest.New()
		stream := start(t, client.New(controltest.Serve(t, e)), "vm1", client.CaptureOptions{})
		e.AwaitMirror()
		e.Send("vm1", vswitch.Received, arp(1))
		e.RemovePort("vm1")
		if got, _ := numbers(t, stream); fmt.Sprint(got) != "[1]" {
			t.Errorf("frames %v", got)
		}
		if sum := stream.Summary(); sum.End != "port vm1 was removed" {
			t.Errorf("summary %+v", sum)
		}
	})
	t.Run("with the daemon", func(t *testing.T) {
		e := controltest.New()
		path := t.TempDir() + "/weft.sock"
		l := listen(t, path, -1)
		s := control.NewServer(e, -1, zap.NewNop())
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		stream := start(t, client.New(path), "vm1", client.CaptureOptions{})
		e.AwaitMirror()
		read := make(chan error)
		go func() { _, err := io.Copy(io.Discard, stream); read <- err }()
		if err := errors.Join(s.Close(), <-served); err != nil {
			t.Error(err)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
		if sum := stream.Summary(); sum.End != "weftd is stopping" {
			t.Errorf("summary %+v", sum)
		}
		if e.Mirrored("vm1") {
			t.Error("the mirror is left")
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	t.Run("when the client vanishes", func(t *testing.T) {
		e := controltest.New()
		stream := start(t, client.New(controltest.Serve(t, e)), "vm1", client.CaptureOptions{})
		e.AwaitMirror()
		stream.Close()
		e.AwaitMirror()
		if e.Mirrored("vm1") {
			t.Error("the mirror is left")
		}
	})
}

func TestCapturesShareOnePort(t *testing.T) {
	e := controltest.New()
	c := client.New(controltest.Serve(t, e))
	one := start(t, c, "vm1", client.CaptureOptions{Count: 1})
	e.AwaitMirror()
	all := start(t, c, "vm1", client.CaptureOptions{})
	other := start(t, c, "vm2", client.CaptureOptions{Count: 1})
	e.AwaitMirror()
	e.Send("vm1", vswitch.Received, arp(1))
	e.Send("vm2", vswitch.Received, arp(7))
	if got, _ := numbers(t, one); fmt.Sprint(got) != "[1]" {
		t.Errorf("first: %v", got)
	}
	if got, _ := numbers(t, other); fmt.Sprint(got) != "[7]" {
		t.Errorf("other port: %v", got)
	}
	e.Send("vm1", vswitch.Received, arp(2))
	all.Stop()
	if got, _ := numbers(t, all); fmt.Sprint(got) != "[1 2]" {
		t.Errorf("second: %v", got)
	}
}

// Captures come and go while a worker sends: for the race detector.
func TestCapturesComeAndGo(t *testing.T) {
	e := controltest.New()
	c := client.New(controltest.Serve(t, e))
	stop := make(chan struct{})
	var worker, clients sync.WaitGroup
	worker.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				e.Send("vm1", vswitch.Received, arp(n))
			}
		}
	})
	for range 4 {
		clients.Go(func() {
			for range 4 {
				stream, err := c.Capture(t.Context(), "vm1", client.CaptureOptions{Count: 10})
				if err != nil {
					t.Error(err)
					return
				}
				got, _ := numbers(t, stream)
				for i := range got {
					if got[i] != got[0]+i {
						t.Errorf("frames %v", got)
						break
					}
				}
				stream.Close()
			}
		})
	}
	clients.Wait()
	close(stop)
	worker.Wait()
}

// A client that reads nothing costs frames, not workers, and does not hold up the end.
func TestCaptureOfStuckClient(t *testing.T) {
	e := controltest.New()
	path := t.TempDir() + "/weft.sock"
	l := listen(t, path, -1)
	s := control.NewServer(e, -1, zap.NewNop())
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /v1/capture?port=vm1 HTTP/1.1\r\nHost: weftd\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	e.AwaitMirror()
	b := frame.NewBufs(1)[0]
	b.SetBytes(make([]byte, 60000))
	for range 1000 { // 60 MB: more than the ring and the socket hold
		e.Send("vm1", vswitch.Received, b)
	}
	if err := errors.Join(s.Close(), <-served); err != nil {
		t.Error(err)
	}
}

func TestCaptureIsReadByTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		const text = "tshark is missing: apt-get install tshark"
		if os.Getenv("WEFT_E2E_REQUIRED") == "1" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	e := controltest.New()
	stream := start(t, client.New(controltest.Serve(t, e)), "vm1", client.CaptureOptions{})
	e.AwaitMirror()
	e.Send("vm1", vswitch.Received, arp(1), partial())
	stream.Stop()
	cmd := exec.CommandContext(t.Context(), tshark, "-n", "-r", "-", "-o", "tcp.check_checksum:TRUE", "-T", "fields",
		"-e", "frame.interface_name", "-e", "arp.src.proto_ipv4", "-e", "tcp.dstport", "-e", "tcp.checksum.status")
	cmd.Stdin = stream
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("tshark: %v\n%s", err, &errs)
	}
	// Status 1 is "good".
	if want := "vm1\t192.0.2.1\t\t\nvm1\t\t80\t1\n"; out.String() != want {
		t.Errorf("tshark says %q, want %q\n%s", out.String(), want, strings.TrimSpace(errs.String()))
	}
}

// partial is a TCP SYN from 10.0.0.1 to 10.0.0.2:80 whose checksum holds the
// pseudo-header's sum only.
func partial() *frame.Buf {
	b := frame.NewBufs(1)[0]
	b.SetBytes([]byte("\x52\x54\x00\x00\x00\x02\x52\x54\x00\x00\x00\x01\x08\x00" +
		"\x45\x00\x00\x28\x00\x01\x00\x00\x40\x06\x66\xcd\x0a\x00\x00\x01\x0a\x00\x00\x02" +
		"\x10\x00\x00\x50\x00\x00\x00\x01\x00\x00\x00\x00\x50\x02\x10\x00\x14\x1d\x00\x00"))
	b.Offload = frame.Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 16}
	return b
}
