package guest

import (
	"fmt"
	"io"
)

// A cpioWriter writes the "newc" archive that the kernel unpacks as its initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpioWriter struct {
	w   io.Writer
	ino int
	err error // the first one; nothing is written after it
}

const (
	modeDir  = 0o040755
	modeFile = 0o100755
	modeLink = 0o120777
	modeChar = 0o020600
)

func (c *cpioWriter) dir(name string)            { c.entry(name, modeDir, 0, 0, nil) }
func (c *cpioWriter) file(name string, b []byte) { c.entry(name, modeFile, 0, 0, b) }
func (c *cpioWriter) link(name, target string)   { c.entry(name, modeLink, 0, 0, []byte(target)) }
func (c *cpioWriter) char(name string, major, minor int) {
	c.entry(name, modeChar, major, minor, nil)
}

// close ends the archive and returns the first error of all.
func (c *cpioWriter) close() error {
	c.entry("TRAILER!!!", 0, 0, 0, nil)
	return c.err
}

func (c *cpioWriter) entry(name string, mode, major, minor int, body []byte) {
	c.ino++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.ino, mode, 0, 0, 1, 0, len(body), 0, 0, major, minor, len(name)+1, 0)
	c.put([]byte(head + name + "\x00"))
	c.put(body)
}

// put writes b and pads it to four bytes: a header is 110 bytes, so that header and
// name are padded together.
func (c *cpioWriter) put(b []byte) {
	if c.err != nil {
		return
	}
	_, c.err = c.w.Write(append(b, make([]byte, -len(b)&3)...))
}
