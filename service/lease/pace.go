package lease

import "time"

// How often one port may have the book written: so often at once, and once an interval
// from then on. Each time takes as long as the disk takes, while all others wait.
const (
	paceBurst    = 64
	paceInterval = time.Second / 16
)

// A pace tells for each port when it would have used up nothing of its burst.
type pace map[string]time.Time

// allow reports whether the port may go on, and counts it.
func (p pace) allow(port string, now time.Time) bool {
	full := p[port]
	if full.Before(now) || full.Sub(now) > paceBurst*paceInterval { // the clock was set back
		full = now
	}
	full = full.Add(paceInterval)
	if full.Sub(now) > paceBurst*paceInterval {
		return false
	}
	p[port] = full
	return true
}

// forget forgets the ports that have not asked for long enough.
func (p pace) forget(now time.Time) {
	for port, full := range p {
		if full.Before(now) {
			delete(p, port)
		}
	}
}
