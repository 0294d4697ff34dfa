package vswitch

import "golang.org/x/sys/unix"

// mapMemory returns n bytes of zeroes outside the heap. They cost nothing until
// they are touched; in huge pages, as a table read at random lives by its TLB hits.
func mapMemory(n int) ([]byte, error) {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err == nil {
		_ = unix.Madvise(p, unix.MADV_HUGEPAGE) // a kernel without them is slower, no worse
	}
	return p, err
}

func unmapMemory(p []byte) error { return unix.Munmap(p) }
