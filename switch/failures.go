package vswitch

import (
	"context"
	"sync"

	"weft/frame"
)

// failures are the dead queues of which Config.QueueFailed is still to be told.
type failures struct {
	signal chan struct{} // holds a token if list is not empty

	mu   sync.Mutex // taken by workers, held for an append
	list []failure  // guarded by mu
}

type failure struct {
	port frame.PortID
	err  error
}

// fail marks a queue as dead. Only the first call for a queue is reported.
func (s *Switch) fail(q *queue, port frame.PortID, err error) {
	if !q.dead.CompareAndSwap(false, true) {
		return
	}
	s.failures.mu.Lock()
	s.failures.list = append(s.failures.list, failure{port, err})
	s.failures.mu.Unlock()
	select {
	case s.failures.signal <- struct{}{}:
	default: // there is a token
	}
}

// reportFailures tells of failed queues, off the workers: who is told may well
// remove the port, which waits for them.
func (s *Switch) reportFailures(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.failures.signal:
		}
		s.failures.mu.Lock()
		list := s.failures.list
		s.failures.list = nil
		s.failures.mu.Unlock()
		if s.queueFailed == nil {
			continue
		}
		for _, f := range list {
			s.queueFailed(f.port, f.err)
		}
	}
}
