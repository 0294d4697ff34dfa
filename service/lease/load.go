package lease

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// A reading is what came of reading a book's file.
type reading struct {
	records []record
	lines   int
	first   int   // line number of the first that is broken, zero: none
	why     error // it is broken
	after   bool  // good lines follow it
	short   bool  // the file ended in it
}

// read reads a book's lines. What is broken is left out.
func read(r io.Reader) (got reading, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		text, err := in.ReadSlice('\n')
		long := false
		for errors.Is(err, bufio.ErrBufferFull) {
			long = true
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return got, err
		}
		if len(text) == 0 {
			return got, nil
		}
		got.lines++
		got.take(text, long)
		if err != nil { // the end, without the end of a line
			got.short = true
			return got, nil
		}
	}
}

// take takes in one line.
func (g *reading) take(text []byte, long bool) {
	body, whole := bytes.CutSuffix(text, []byte{'\n'})
	var rec record
	var err error
	switch {
	case long:
		err = errors.New("it is too long")
	case !whole:
		err = errors.New("it does not end")
	case g.lines == 1:
		var h header
		if err = unline(body, &h); err == nil && h.Version != formatVersion {
			err = fmt.Errorf("it is of format %d, and this weft knows format %d", h.Version, formatVersion)
		}
	default:
		err = unline(body, &rec)
	}
	switch {
	case err == nil:
		g.after = g.first != 0
		if g.lines > 1 {
			g.records = append(g.records, rec)
		}
	case g.first == 0:
		g.first, g.why = g.lines, err
	}
}

// torn reports whether all that is broken is the end, as a crash leaves it.
func (g *reading) torn() bool {
	return g.first > 1 && !g.after || g.first == 1 && g.lines == 1 && g.short
}

// restore fills the table from the file and makes the file anew if it has to be. A file
// that is broken is no error, but damage.
func (b *Book) restore() error {
	f, err := os.Open(b.journal.path)
	if errors.Is(err, os.ErrNotExist) {
		return b.compact()
	}
	if err != nil {
		return err
	}
	got, err := read(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for i := range got.records {
		if err := b.replay(&got.records[i]); err != nil && got.first == 0 {
			got.first, got.why, got.after = i+2, err, true
		}
	}
	switch {
	case got.first == 0:
	case got.torn():
		b.damage = fmt.Errorf("%s: line %d is broken (%w), as after a crash: it was dropped; nobody was told what it said", b.journal.path, got.first, got.why)
	default:
		aside, err := b.journal.setAside()
		if err != nil {
			return err
		}
		b.damage = fmt.Errorf("%s: line %d is broken: %w; the file is kept as %s, and the %d leases that can be read are in use", b.journal.path, got.first, got.why, aside, len(b.table.addresses))
	}
	return b.compact()
}

// replay does to the table what a record says.
func (b *Book) replay(r *record) error {
	if r.State == gone {
		if e := b.table.addresses[r.Address]; e != nil {
			b.table.remove(e)
		}
		return nil
	}
	e, err := r.entry(b.network)
	if err == nil {
		b.table.put(e)
	}
	return err
}
