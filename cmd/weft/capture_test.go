package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/gopacket/pcapgo"

	"weft/frame"
	"weft/internal/control/api"
	"weft/internal/control/controltest"
	vswitch "weft/switch"
)

// start runs weft beside the test. wait returns its result after cancel.
func start(t *testing.T, stdout io.Writer, args ...string) (interrupt context.CancelFunc, wait func() (status int, stderr string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var errs bytes.Buffer
	a := &app{stdout: stdout, stderr: &errs}
	ended := make(chan int)
	go func() { ended <- a.run(ctx, args) }()
	return cancel, func() (int, string) { status := <-ended; return status, errs.String() }
}

func send(e *controltest.Engine, n int) {
	b := frame.NewBufs(1)[0]
	b.SetBytes(make([]byte, 60))
	for range n {
		e.Send("vm1", vswitch.Received, b)
	}
}

func packets(t *testing.T, r io.Reader) (n int) {
	t.Helper()
	ng, err := pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := ng.ReadPacketData(); err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			return n
		}
		n++
	}
}

func TestCaptureToStdoutUntilInterrupted(t *testing.T) {
	e := controltest.New()
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, e))
	r, w := io.Pipe()
	interrupt, wait := start(t, w, "capture", "vm1")
	header := make([]byte, 4)
	if _, err := io.ReadFull(r, header); err != nil { // the stream is open
		t.Fatal(err)
	}
	send(e, 3)
	interrupt()
	rest := make(chan []byte)
	go func() { b, _ := io.ReadAll(r); rest <- b }()
	status, stderr := wait()
	_ = w.Close()
	if status != exitDone || stderr != "3 frames captured (stopped by the client)\n" {
		t.Errorf("status %d, %q", status, stderr)
	}
	if n := packets(t, bytes.NewReader(append(header, <-rest...))); n != 3 {
		t.Errorf("%d packets", n)
	}
}

func TestCaptureToFileEndsAtCount(t *testing.T) {
	e := controltest.New()
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, e))
	path := filepath.Join(t.TempDir(), "vm1.pcapng")
	_, wait := start(t, io.Discard, "capture", "vm1", "-w", path, "-c", "2")
	e.AwaitMirror()
	send(e, 5)
	if status, stderr := wait(); status != exitDone || stderr != "2 frames captured (count reached)\n" {
		t.Errorf("status %d, %q", status, stderr)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := packets(t, f); n != 2 {
		t.Errorf("%d packets", n)
	}
	if info, _ := f.Stat(); info.Mode() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
}

func TestCaptureRefusedLeavesNoFile(t *testing.T) {
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, controltest.New()))
	path := filepath.Join(t.TempDir(), "none.pcapng")
	if r := weft(t, "", "capture", "none", "-w", path); r.status != exitFailed {
		t.Errorf("status %d", r.status)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was made")
	}
}

func TestCaptureRefusesTerminal(t *testing.T) {
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, controltest.New()))
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("no terminal to be had: %v (mount devpts with ptmx)", err)
	}
	defer terminal.Close()
	_, wait := start(t, terminal, "capture", "vm1")
	if status, stderr := wait(); status != exitUsage || !strings.Contains(stderr, "weft capture vm1 | wireshark -k -i -") {
		t.Errorf("status %d, %q", status, stderr)
	}
}

func TestCountersWatch(t *testing.T) {
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, controltest.New()))
	r, w := io.Pipe()
	interrupt, wait := start(t, w, "counters", "vm2", "--watch", "--json", "--interval", "1ms")
	d := json.NewDecoder(r)
	for range 3 {
		var c []api.Counters
		if err := d.Decode(&c); err != nil || len(c) != 1 || c[0].Port != "vm2" {
			t.Errorf("%+v, %v", c, err)
		}
	}
	interrupt()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if status, stderr := wait(); status != exitDone || stderr != "" {
		t.Errorf("status %d, %q", status, stderr)
	}
	_ = w.Close()
}
