package switchtest_test

import (
	"errors"
	"io"
	"os"
	"testing"

	"weft/frame"
	"weft/switch/switchtest"
)

func bufs(n int) []*frame.Buf {
	list := frame.NewBufs(n)
	for i, b := range list {
		b.SetBytes([]byte{byte(i)})
	}
	return list
}

func TestPipeCarriesInOrderUntilItIsFull(t *testing.T) {
	switchtest.NoLeak(t)
	a, b := switchtest.Pipe()
	list, sent := bufs(8), 0
	for {
		n, err := a.Send(list)
		if err != nil {
			t.Fatal(err)
		}
		sent += n
		if n < len(list) {
			break
		}
	}
	for i := range sent {
		if got := b.Read(t); got.Bytes[0] != byte(i%8) {
			t.Fatalf("frame %d is %d", i, got.Bytes[0])
		}
	}
	if n, err := b.Recv(list); n != 0 || err != nil {
		t.Errorf("an empty pipe: %d frames, %v", n, err)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if _, err := b.Recv(list); !errors.Is(err, io.EOF) {
		t.Errorf("other end closed: %v, want EOF", err)
	}
	if _, err := b.Send(list); !errors.Is(err, os.ErrClosed) {
		t.Errorf("other end closed: %v, want ErrClosed", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestFaultyFailsWhenTold(t *testing.T) {
	switchtest.NoLeak(t)
	r := switchtest.NewRecorder()
	f := &switchtest.Faulty{Queue: r}
	broken := errors.New("broken")
	f.Shorten(3)
	if n, err := f.Send(bufs(8)); n != 3 || err != nil {
		t.Errorf("short: took %d, %v", n, err)
	}
	f.FailSend(2, broken)
	if n, err := f.Send(bufs(1)); n != 1 || err != nil {
		t.Errorf("before it fails: took %d, %v", n, err)
	}
	if n, err := f.Send(bufs(8)); n != 1 || !errors.Is(err, broken) {
		t.Errorf("took %d, %v, want 1 and the error", n, err)
	}
	f.FailRecv(broken)
	if _, err := f.Recv(bufs(1)); !errors.Is(err, broken) {
		t.Errorf("received: %v", err)
	}
	if got := len(r.Wait(t, 5)); got != 5 {
		t.Errorf("%d frames recorded, want 5", got)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
