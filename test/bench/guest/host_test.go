package guest

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

var (
	ownMAC  = [6]byte{0x52, 0x54, 0, 0xbe, 1, 3}
	ownAddr = netip.MustParseAddr("198.18.0.3")
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnswerARP(t *testing.T) {
	const (
		header  = "0806" + "0001" + "0800" + "0604"
		asker   = "525400be0001" + "c6120001"
		request = "ffffffffffff" + "525400be0001" + header + "0001" + asker + "000000000000" + "c6120003"
		reply   = "525400be0001" + "525400be0103" + header + "0002" + "525400be0103" + "c6120003" + asker
	)
	f := unhex(t, request)
	if !answerARP(f, ownMAC, ownAddr) || !bytes.Equal(f, unhex(t, reply)) {
		t.Errorf("answer %x, want %s", f, reply)
	}
	if answerARP(unhex(t, request), ownMAC, netip.MustParseAddr("198.18.0.4")) {
		t.Error("a request for another address was answered")
	}
	if answerARP(unhex(t, reply), ownMAC, netip.MustParseAddr("198.18.0.1")) {
		t.Error("a reply was answered")
	}
}

func TestAnswerEcho(t *testing.T) {
	const (
		header  = "0800" + "4500001e" + "00000000" + "4001" + "ae93"
		request = "525400be0103" + "525400be0001" + header + "c6120001" + "c6120003" + "0800f4fa" + "00010002" + "0102"
		reply   = "525400be0001" + "525400be0103" + header + "c6120003" + "c6120001" + "0000fefa" + "00010002" + "0102"
	)
	f := unhex(t, request)
	if !answerEcho(f, ownMAC, ownAddr) || !bytes.Equal(f, unhex(t, reply)) {
		t.Errorf("answer %x\n want  %s", f, reply)
	}
	if answerEcho(f, ownMAC, ownAddr) {
		t.Error("a reply was answered")
	}
	for n := etherLen; n < len(f); n++ { // a cut frame must not panic either
		if answerEcho(unhex(t, request)[:n], ownMAC, ownAddr) {
			t.Errorf("%d bytes of a request were answered", n)
		}
	}
}

func TestFlowFrameIsOfTheFlow(t *testing.T) {
	f := flowFrame(vnetHeader, endpoints{dstAddr: ownAddr, srcAddr: ownAddr}, ofSender)[vnetHeader:]
	if len(f) != frameLen || !isFlow(f, ofSender) || isFlow(f, ofReceiver) {
		t.Errorf("flow frame %x", f)
	}
	if sum := onesSum(f[etherLen : etherLen+ipLen]); sum != 0xffff { // RFC 1071: a right header sums to all ones
		t.Errorf("the header sums to %#x", sum)
	}
	number(f, 0x123456789abcdef)
	pseudo := append([]byte{0, 17, 0, byte(len(f) - etherLen - ipLen)}, f[etherLen+12:etherLen+ipLen]...)
	if sum := onesSum(append(pseudo, f[etherLen+ipLen:]...)); sum != 0xffff {
		t.Errorf("with a sequence number the datagram sums to %#x", sum)
	}
}
