package tap

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"weft/frame"
)

// What a tc program may return.
const (
	tcPass = -1
	tcDrop = 2
)

// A counting program counts the frames it sees, and returns always the same.
type counting struct {
	*ebpf.Program
	seen *ebpf.Map
}

func newCounting(t testing.TB, name string, verdict int32) counting {
	t.Helper()
	return countInto(t, newCount(t), ebpf.SchedCLS, name, verdict)
}

func newCount(t testing.TB) *ebpf.Map {
	t.Helper()
	seen, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must(t, err)
	t.Cleanup(func() { seen.Close() })
	return seen
}

func countInto(t testing.TB, seen *ebpf.Map, typ ebpf.ProgramType, name string, verdict int32) counting {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: typ, License: "Dual MIT/GPL",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, seen.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, verdict).WithSymbol("out"),
			asm.Return(),
		},
	})
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return counting{p, seen}
}

func (c counting) count(t testing.TB) (n uint64) {
	t.Helper()
	must(t, c.seen.Lookup(uint32(0), &n))
	return n
}

// A crossing is a guest's TAP with weft attached to it.
type crossing struct {
	vm guest
	*Device
}

func newCrossing(t *testing.T) crossing {
	t.Helper()
	must(t, Create(Spec{Name: "vm1", Port: "p", Owner: -1, Group: -1, Queues: 1}))
	g := openGuest(t, "vm1")
	d, err := AttachDevice("vm1", 1500)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return crossing{g, d}
}

// cross sends a frame and returns how many come to the switch.
func (c crossing) cross(t testing.TB) int {
	t.Helper()
	must(t, c.vm.write(testFrame(everyone, guestMAC, 60)))
	n, err := c.Queues()[0].Recv(frame.NewBufs(4))
	must(t, err)
	return n
}

func TestFrontSeesFramesFirst(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		c := newCrossing(t)
		without := state(t)
		passes, drops := newCounting(t, "weftfp_in", tcPass), newCounting(t, "weftfp_in", tcDrop)
		for i, step := range []struct {
			front                 Front
			came, passed, dropped int
		}{
			{Front{}, 1, 0, 0},
			{Front{Ingress: passes.Program}, 1, 1, 0},
			{Front{Ingress: passes.Program}, 1, 2, 0}, // already there
			{Front{Ingress: drops.Program}, 0, 2, 1},
			{Front{Egress: drops.Program}, 1, 2, 1}, // no front for a device
			{Front{}, 1, 2, 1},
		} {
			must(t, c.SetFront(step.front))
			came := c.cross(t)
			passed, dropped := int(passes.count(t)), int(drops.count(t))
			if came != step.came || passed != step.passed || dropped != step.dropped {
				t.Errorf("step %d: %d frames came, fronts saw %d and %d; want %d, %d and %d",
					i, came, passed, dropped, step.came, step.passed, step.dropped)
			}
		}
		if now := state(t); now != without {
			t.Errorf("left behind:\n%s\nwas:\n%s", now, without)
		}
		wrong := newCounting(t, "weft_in", tcPass)
		if err := c.SetFront(Front{Ingress: wrong.Program}); err == nil || !strings.Contains(err.Error(), "must begin with weftfp_") {
			t.Errorf("a program with the name of weft's own: %v", err)
		}
	})
}

// Each frame passes one front, whichever is there at the time, and comes to the switch.
func TestFrontReplacedUnderTraffic(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		c := newCrossing(t)
		c.checkReplacing(t, ebpf.SchedCLS, tcPass, func(p *ebpf.Program) error { return c.SetFront(Front{Ingress: p}) })
	})
}

func (c crossing) checkReplacing(t *testing.T, typ ebpf.ProgramType, verdict int32, set func(*ebpf.Program) error) {
	t.Helper()
	a := countInto(t, newCount(t), typ, "weftfp_in", verdict)
	b := countInto(t, a.seen, typ, "weftfp_in", verdict)
	must(t, set(a.Program))
	sent, came := c.crossWhile(t, set, b.Program, a.Program)
	if seen := int(a.count(t)); seen != sent || came != sent {
		t.Errorf("%d frames sent, the programs saw %d, the switch %d", sent, seen, came)
	}
}

// crossWhile sends frames while the programs take turns, and returns how many it sent and
// how many came to the switch.
func (c crossing) crossWhile(t *testing.T, set func(*ebpf.Program) error, programs ...*ebpf.Program) (sent, came int) {
	t.Helper()
	here, err := openPlace("")
	must(t, err)
	defer here.close()
	changed := make(chan error, 1)
	go func() {
		changed <- here.do(func() error {
			for i := range 200 {
				if err := set(programs[i%len(programs)]); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	for {
		came += c.cross(t)
		sent++
		select {
		case err := <-changed:
			must(t, err)
			return sent, came
		default:
		}
	}
}

// What an earlier process left goes on until it is replaced, whichever hook it used.
func TestFrontOfEarlierProcess(t *testing.T) {
	for _, order := range [][]hook{{tcx{}, clsact{}}, {clsact{}, tcx{}}} {
		if len(hooks()) < 2 {
			t.Skip("the kernel has one hook only")
		}
		t.Run(hookNames(order), func(t *testing.T) {
			isolate(t)
			saved := hooks
			t.Cleanup(func() { hooks = saved })
			hooks = func() []hook { return order }
			c := newCrossing(t)
			old := newCounting(t, "weftfp_in", tcPass)
			must(t, c.SetFront(Front{Ingress: old.Program}))
			must(t, c.Release())
			checkLeft(t, old)

			hooks = func() []hook { return []hook{order[1], order[0]} }
			d, err := AttachDevice("vm1", 1500)
			must(t, err)
			defer d.Close()
			c.Device = d
			if came := c.cross(t); came != 1 || old.count(t) != 1 {
				t.Errorf("taken over: %d frames came, the old front saw %d; want 1 and 1", came, old.count(t))
			}
			next := newCounting(t, "weftfp_in", tcPass)
			must(t, c.SetFront(Front{Ingress: next.Program}))
			if came := c.cross(t); came != 1 || old.count(t) != 1 || next.count(t) != 1 {
				t.Errorf("replaced: %d frames came, the old front saw %d and the next %d; want 1 each", came, old.count(t), next.count(t))
			}
			checkLeft(t, next)
			must(t, c.Close())
			if now := state(t); strings.Contains(now, "program") || strings.Contains(now, "clsact") {
				t.Errorf("left behind:\n%s", now)
			}
		})
	}
}

func hookNames(order []hook) string {
	if _, ok := order[0].(tcx); ok {
		return "tcx, then clsact"
	}
	return "clsact, then tcx"
}

// checkLeft wants LeftFront to return that program alone.
func checkLeft(t *testing.T, want counting) {
	t.Helper()
	left, err := LeftFront()
	must(t, err)
	var ids []ebpf.ProgramID
	for _, p := range left {
		ids = append(ids, programID(t, p))
		p.Close()
	}
	if len(ids) != 1 || ids[0] != programID(t, want.Program) {
		t.Errorf("LeftFront: programs %v, want %d", ids, programID(t, want.Program))
	}
}

func programID(t *testing.T, p *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := p.Info()
	must(t, err)
	id, _ := info.ID()
	return id
}

// What an earlier process left to a device that weft has no use for any more goes, and
// nothing else does.
func TestRemoveFronts(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		c := newCrossing(t)
		without := state(t)
		old := newCounting(t, "weftfp_in", tcPass)
		must(t, c.SetFront(Front{Ingress: old.Program}))
		must(t, c.Release())
		must(t, RemoveFronts(func(index int) bool { return index == c.Index() }))
		checkLeft(t, old)
		must(t, RemoveFronts(func(index int) bool { return index == c.Companion() }))
		if now := state(t); now != without {
			t.Errorf("left\n%s\nwant\n%s", now, without)
		}
	})
}

func TestFrontGoesWithDevice(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		newVeth(t, "a0", newPlace(t), "eth0")
		before := state(t)
		d, err := AttachDevice("a0", 1500)
		must(t, err)
		must(t, d.SetFront(Front{Ingress: newCounting(t, "weftfp_in", tcPass).Program}))
		with := state(t)
		if !strings.Contains(with, "program weftfp_* ingress") {
			t.Fatalf("no front in\n%s", with)
		}
		must(t, d.Release())
		if now := state(t); now != with {
			t.Errorf("Release changed\n%s\nto\n%s", with, now)
		}
		d, err = AttachDevice("a0", 1500)
		must(t, err)
		must(t, d.Close())
		if now := state(t); now != before {
			t.Errorf("Close left\n%s\nwas\n%s", now, before)
		}
	})
}
