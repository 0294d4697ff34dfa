// Package tap makes TAP devices and attaches the switch to them and to other
// kernel netdevs: batched queues that carry checksum and segmentation offloads in
// virtio-net headers, and tc programs that bring a netdev's frames to such a queue
// and back.
//
//	guest ── N (TAP, veth, vif) ──redirect──▶ C (companion TAP) ──read──▶ switch
//	           ◀──────────────────────packet socket────────────────────── switch
//
// Nothing here outlives its use: Close removes what weft made. After a crash all of
// it stays in place, so that no guest's frame reaches the host's own stack, and the
// next start takes it over. What weft made carries its mark in the device's alias;
// nothing without that mark is ever removed.
package tap

import "errors"

// Errors that callers tell apart. Each is wrapped with the device's name and what
// to do about it.
var (
	ErrNoDevice = errors.New("no such device")      // it may appear later
	ErrBusy     = errors.New("device in use")       // held by another program
	ErrEnslaved = errors.New("device has a master") // a kernel bridge, bond or VRF has it
	ErrForeign  = errors.New("device exists and is not weft's")
	ErrNoTUN    = errors.New("/dev/net/tun cannot be used")
	ErrOldOwner = errors.New("owner and group stay as they were")
	ErrNoBPF    = errors.New("eBPF programs cannot be loaded")
)
