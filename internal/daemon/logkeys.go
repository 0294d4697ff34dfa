package daemon

// The keys of log fields: one vocabulary, so that logs can be searched.
const (
	keyPort    = "port"
	keyNetwork = "network"
	keyDevice  = "device"
	keyUplink  = "uplink"
	keyState   = "state"
	keyAction  = "action"
	keyReason  = "reason"
	keyMAC     = "mac"
	keyNote    = "note"

	keyAddresses = "addresses"
)
