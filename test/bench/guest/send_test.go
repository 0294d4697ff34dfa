package guest

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

func TestLoadHasItsFlows(t *testing.T) {
	load := Load{From: ownAddr, To: netip.MustParseAddr("198.18.0.4"), Flows: 3000, Buffers: 6000}
	seen := make(map[uint32]int)
	for _, buf := range load.frames(vnetHeader, receiverMAC) {
		f := buf[vnetHeader:]
		if !isFlow(f, ofSender) {
			t.Fatalf("%x is not the sender's", f)
		}
		if ip := f[etherLen:]; [4]byte(ip[12:]) != load.From.As4() || [4]byte(ip[16:]) != load.To.As4() {
			t.Fatalf("%x has other addresses", f)
		}
		seen[binary.BigEndian.Uint32(f[etherLen+ipLen:])]++ // both ports
	}
	for ports, n := range seen {
		if n != 2 {
			t.Errorf("flow %#x has %d buffers, want 2", ports, n)
		}
	}
	if len(seen) != load.Flows {
		t.Errorf("%d flows, want %d", len(seen), load.Flows)
	}
}

func TestARPFindsTheOther(t *testing.T) {
	asker := netip.MustParseAddr("198.18.0.1")
	f := askARP(vnetHeader, senderMAC, asker, ownAddr)[vnetHeader:]
	if saysARP(f, asker) {
		t.Error("a request passes for a reply")
	}
	if !answerARP(f, ownMAC, ownAddr) {
		t.Fatalf("%x was not answered", f)
	}
	if !saysARP(f, ownAddr) || [6]byte(f[6:12]) != ownMAC || [6]byte(f[0:6]) != senderMAC {
		t.Errorf("the answer is %x", f)
	}
	if saysARP(f, asker) {
		t.Error("the answer passes for another's")
	}
}

func TestFlowIsAnswered(t *testing.T) {
	there := endpoints{
		dst: receiverMAC, src: senderMAC, dstAddr: ownAddr, srcAddr: netip.MustParseAddr("198.18.0.4"),
		dstPort: 7001, srcPort: 10000,
	}
	back := endpoints{
		dst: there.src, src: there.dst, dstAddr: there.srcAddr, srcAddr: there.dstAddr,
		dstPort: there.srcPort, srcPort: there.dstPort,
	}
	got, want := flowFrame(0, there, ofSender), flowFrame(0, back, ofReceiver)
	answerFlow(got)
	if !bytes.Equal(got, want) {
		t.Errorf("answer %x\n want  %x", got, want)
	}
}
