package tap

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
)

// A diary keeps what Watch tells.
type diary struct {
	mu   sync.Mutex
	last map[string]Link
}

func (d *diary) note(l Link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last[l.Name] = l
}

func (d *diary) wait(t *testing.T, what, name string, ok func(Link) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		l, told := d.last[name]
		return told && ok(l)
	})
}

func TestWatchTellsOfGuestsAndMasters(t *testing.T) {
	isolate(t)
	here, err := openPlace("")
	must(t, err)
	defer here.close()
	a := netlink.NewLinkAttrs()
	a.Name = "br7"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: a}))

	ctx, cancel := context.WithCancel(context.Background())
	d := &diary{last: make(map[string]Link)}
	done := make(chan error, 1)
	go func() { done <- here.do(func() error { return Watch(ctx, d.note) }) }()
	d.wait(t, "what was there", "br7", func(l Link) bool { return l.Kind == "bridge" && !l.Deleted })

	must(t, Create(spec()))
	l, err := linkByName("vm1")
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	d.wait(t, "a TAP without guest", "vm1", func(l Link) bool { return l.Up && !l.Carrier && l.Kind == "tun" })
	g := openGuest(t, "vm1")
	d.wait(t, "a guest", "vm1", func(l Link) bool { return l.Carrier })
	must(t, g.Close())
	d.wait(t, "the guest's end", "vm1", func(l Link) bool { return !l.Carrier })
	openGuest(t, "vm1")
	d.wait(t, "the guest again", "vm1", func(l Link) bool { return l.Carrier })

	run(t, nil, "ip", "link", "set", "dev", "vm1", "master", "br7")
	d.wait(t, "a master", "vm1", func(l Link) bool { return l.Master == "br7" })
	links, err := Links()
	must(t, err)
	if len(links) != 3 || links[2].Name != "vm1" || links[2].Master != "br7" || links[2].Alias != "weft: port p1" {
		t.Errorf("Links = %+v", links)
	}
	if l, err := LinkByName("vm1"); err != nil || l.Master != "br7" {
		t.Errorf("LinkByName = %+v, %v", l, err)
	}
	run(t, nil, "ip", "link", "set", "dev", "vm1", "nomaster")
	d.wait(t, "no master", "vm1", func(l Link) bool { return l.Master == "" && !l.Deleted })
	must(t, Delete("vm1"))
	d.wait(t, "removal", "vm1", func(l Link) bool { return l.Deleted })
	cancel()
	must(t, <-done)
}

// More changes than the socket holds happen while the callback is busy, the last of
// which is a removal that no message tells of any more.
func TestWatchMakesGoodLostMessages(t *testing.T) {
	isolate(t)
	here, err := openPlace("")
	must(t, err)
	defer here.close()
	must(t, Create(spec()))
	ctx, cancel := context.WithCancel(context.Background())
	d := &diary{last: make(map[string]Link)}
	busy, release := make(chan struct{}), make(chan struct{})
	var told atomic.Int64
	done := make(chan error, 1)
	go func() {
		done <- here.do(func() error {
			return Watch(ctx, func(l Link) {
				d.note(l)
				if l.Name == "vm1" && told.Add(1) == 1 {
					close(busy)
					<-release
				}
			})
		})
	}()
	<-busy
	const changes = 8000
	l, err := linkByName("vm1")
	must(t, err)
	for i := range changes {
		must(t, here.LinkSetMTU(l, 1400+i%2))
	}
	must(t, Delete("vm1"))
	newVeth(t, "a0", newPlace(t), "eth0")
	close(release)
	d.wait(t, "the removal", "vm1", func(l Link) bool { return l.Deleted })
	d.wait(t, "the newcomer", "a0", func(l Link) bool { return l.Up })
	if n := told.Load(); n >= changes {
		t.Errorf("%d messages: none was lost, so the test shows nothing", n)
	}
	cancel()
	must(t, <-done)
}
