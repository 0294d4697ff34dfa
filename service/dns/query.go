package dns

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

const (
	headerLen = 12  // bytes (RFC 1035 4.1.1)
	plainUDP  = 512 // bytes of the longest message without EDNS (RFC 1035 2.3.4)

	// maxUDP is what fits into one packet anywhere: more would be fragmented, and
	// fragments get lost and forged. It is the DNS operators' common choice.
	maxUDP = 1232

	maxTCP = 65535

	flagQR, flagTC = 0x80, 0x02 // in the third byte
	opcodeMask     = 0x78       // in the third byte
)

// A query is a client's question.
type query struct {
	msg      dns.Msg
	question dns.Question
	opt      *dns.OPT // nil: the client does not know EDNS
	limit    int      // bytes of the longest answer
	tcp      bool
}

// A result is an answer that the gateway gives itself, with authority.
type result struct {
	rcode   int
	answers []dns.RR
	soa     dns.RR // that of the zone, for negative answers (RFC 2308 3); nil: none
}

// parse reads a client's message. What is no query that can be answered gives no
// query, and a refusal, which is nil if nothing is to be said.
func parse(p []byte, tcp bool) (q *query, refusal []byte) {
	if len(p) < headerLen || p[2]&flagQR != 0 {
		return nil, nil // answers to answers make loops
	}
	if p[2]&opcodeMask != 0 {
		return nil, refuse(p, dns.RcodeNotImplemented)
	}
	q = &query{tcp: tcp, limit: plainUDP}
	if q.msg.Unpack(p) != nil || len(q.msg.Question) != 1 { // RFC 9619: exactly one
		return nil, refuse(p, dns.RcodeFormatError)
	}
	q.question = q.msg.Question[0]
	for _, rr := range q.msg.Extra {
		opt, ok := rr.(*dns.OPT)
		if ok && q.opt != nil {
			return nil, refuse(p, dns.RcodeFormatError) // RFC 6891 6.1.1
		}
		if ok {
			q.opt = opt
			q.limit = min(max(int(opt.UDPSize()), plainUDP), maxUDP)
		}
	}
	if tcp {
		q.limit = maxTCP
	}
	if q.opt != nil && q.opt.Version() != 0 {
		return nil, q.reply(result{rcode: dns.RcodeBadVers}) // RFC 6891 6.1.3
	}
	return q, nil
}

// refuse returns an answer of nothing but a header to the message p.
func refuse(p []byte, rcode byte) []byte {
	return []byte{p[0], p[1], flagQR | p[2]&(opcodeMask|1), rcode, 0, 0, 0, 0, 0, 0, 0, 0}
}

// reply returns the answer to q that says r.
func (q *query) reply(r result) []byte {
	m := q.blank(r.rcode)
	m.Authoritative = r.rcode == dns.RcodeSuccess || r.rcode == dns.RcodeNameError
	m.Answer = r.answers
	if r.soa != nil {
		m.Ns = []dns.RR{r.soa}
	}
	p, err := m.Pack()
	if err != nil {
		return refuse([]byte{byte(q.msg.Id >> 8), byte(q.msg.Id), 0}, dns.RcodeServerFailure)
	}
	return q.fit(p)
}

// blank returns an answer to q without records.
func (q *query) blank(rcode int) *dns.Msg {
	m := new(dns.Msg)
	m.SetRcode(&q.msg, rcode)
	m.RecursionAvailable = true
	m.Compress = true
	if q.opt != nil {
		m.SetEdns0(maxUDP, q.opt.Do())
	}
	return m
}

// fit returns the answer p, or, if it is too long, one that says so: the client asks
// again by TCP and believes nothing that was cut (RFC 2181 9).
func (q *query) fit(p []byte) []byte {
	if len(p) <= q.limit {
		return p
	}
	m := q.blank(int(p[3] & 0xf))
	m.Truncated = true
	if short, err := m.Pack(); err == nil {
		return short
	}
	return refuse(p, dns.RcodeServerFailure)
}

// A request is q as a resolver is asked it.
type request struct {
	wire     string // the message, with an ID of zero: two of the same are the same question
	question int    // bytes of the question behind the header
	tcp      bool
}

// request returns what to ask a resolver: the question and what the client wants done
// with it. EDNS is from hop to hop (RFC 6891 6.2.6); who does not know it gets none.
func (q *query) request() request {
	m := dns.Msg{Question: q.msg.Question}
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = q.msg.RecursionDesired, q.msg.CheckingDisabled, q.msg.AuthenticatedData
	bare, err := m.Pack()
	if err != nil {
		return request{}
	}
	r := request{wire: string(bare), question: len(bare) - headerLen, tcp: q.tcp}
	if q.opt != nil {
		m.SetEdns0(uint16(min(q.limit, maxUDP)), q.opt.Do())
		if p, err := m.Pack(); err == nil {
			r.wire = string(p)
		}
	}
	return r
}

// relay returns a resolver's answer as one to q.
func (q *query) relay(wire []byte) []byte {
	p := append([]byte(nil), wire...)
	if additional := binary.BigEndian.Uint16(p[10:]); q.opt == nil && additional > 0 {
		p = withoutEDNS(p)
	}
	binary.BigEndian.PutUint16(p, q.msg.Id)
	return q.fit(p)
}

// withoutEDNS returns the message without OPT records, which a client that sent none
// must not get (RFC 6891 7).
func withoutEDNS(p []byte) []byte {
	var m dns.Msg
	if m.Unpack(p) != nil || m.IsEdns0() == nil {
		return p
	}
	extra := m.Extra[:0]
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			extra = append(extra, rr)
		}
	}
	m.Extra = extra
	m.Rcode &= 0xf // the rest of an extended one has gone with the record
	m.Compress = true
	if q, err := m.Pack(); err == nil {
		return q
	}
	return p
}
