package daemon

import (
	"os"
	"testing"

	"weft/tap"
)

func TestNewOwnerTakesANewTAPWhichIsAttached(t *testing.T) {
	k := newMemKernel(t)
	d := start(t, k, `{networks: [{name: lab, mode: isolated}], ports: [{name: t, network: lab}]}`)
	before := k.open["t"]
	apply(t, d, `{networks: [{name: lab, mode: isolated}], ports: [{name: t, network: lab, owner: 1000}]}`)
	if k.open["t"] == before || d.ports["t"].att == nil {
		t.Error("the port is still attached to the TAP that was replaced")
	}
	if got, want := d.ports["t"].link.Index, k.links["t"].Index; got != want {
		t.Errorf("the port follows link %d (want %d)", got, want)
	}
}

func TestFailedAttemptIsNotTriedAgainForItsOwnLinkMessages(t *testing.T) {
	k := newMemKernel(t)
	k.fails["h"] = os.ErrNotExist
	d := start(t, k, `{networks: [{name: lab, mode: isolated}], ports: [{name: h, network: lab, type: host}]}`)
	made := k.next
	k.set("h", true) // what the watcher tells of an attempt
	k.remove("h")
	if k.next != made+1 {
		t.Errorf("%d devices were made upon link messages (want none)", k.next-made-1)
	}
	delete(k.fails, "h")
	d.repair()
	if d.ports["h"].att == nil {
		t.Error("the next repair does not attach the port")
	}
}

func TestHostPortGoesToTheNamespaceThatWasMadeAnew(t *testing.T) {
	k := newMemKernel(t)
	d := start(t, k, `{networks: [{name: lab, mode: isolated}], ports: [{name: h, network: lab, type: host, netns: a}]}`)
	before := k.open["h"]
	d.repair()
	if k.open["h"] != before {
		t.Error("the port was opened again for no reason")
	}
	before.past = true
	d.repair()
	if k.open["h"] == before || d.ports["h"].att == nil {
		t.Error("the port was not opened again")
	}
}

func TestNewOwnerWaitsForTheGuestToStop(t *testing.T) {
	k := newMemKernel(t)
	text := `{networks: [{name: lab, mode: isolated}], ports: [{name: t, network: lab, owner: 1000}]}`
	k.failOnce("create t", tap.ErrOldOwner) // the guest outlived an earlier daemon
	k.set("t", true)
	d := start(t, k, text)
	if d.ports["t"].att == nil {
		t.Fatal("the guest's port is not attached, for its owner's sake")
	}
	k.set("t", true)
	if _, taps := k.devices(); len(taps) != 0 {
		t.Error("the TAP is changed while the guest runs")
	}
	k.set("t", false)
	if _, taps := k.devices(); len(taps) != 1 {
		t.Error("the owner is not changed when the guest stopped")
	}
}
