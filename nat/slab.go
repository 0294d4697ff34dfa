package nat

// chunk is how many records a slab grows by. They never move, so growing costs no more
// than the memory, and readers keep their pointers.
const chunk = 1 << 12

// A slab holds up to a number of records without pointers, which the collector does not
// look into. Record 0 is nobody's: links that are zero lead nowhere.
type slab[T any, P record[T]] struct {
	chunks []*[chunk]T
	made   uint32 // records that were taken once
	free   uint32 // the first of those given back
	used   int
}

// A record lends the slab a place for a link while it is free.
type record[T any] interface {
	*T
	link() *uint32
}

func newSlab[T any, P record[T]](records int) slab[T, P] {
	return slab[T, P]{chunks: make([]*[chunk]T, 0, records/chunk+1)}
}

func (s *slab[T, P]) at(i uint32) *T { return &s.chunks[i/chunk][i%chunk] }

// take returns a record, all of which the caller writes.
func (s *slab[T, P]) take() uint32 {
	s.used++
	if i := s.free; i != 0 {
		s.free = *P(s.at(i)).link()
		return i
	}
	s.made++
	if int(s.made/chunk) == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunk]T))
	}
	return s.made
}

func (s *slab[T, P]) give(i uint32) {
	s.used--
	p := s.at(i)
	*p = *new(T)
	*P(p).link() = s.free
	s.free = i
}
