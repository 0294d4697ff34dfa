// Package call is what a test and the agent inside its guest say to each other
// over a virtio-serial port: one JSON document a line.
package call

// Port is the name of the virtio-serial port.
const Port = "weft.agent"

// A Request asks the guest to run a shell command, or to end one.
type Request struct {
	ID   int    `json:"id"`
	Cmd  string `json:"cmd,omitempty"`
	Kill bool   `json:"kill,omitempty"` // end the command that ID started
}

// A Response tells how the command of a request ended. The first one of all, with
// ID 0, tells that the guest has booted.
type Response struct {
	ID     int    `json:"id"`
	Output string `json:"output"` // standard output and error, as they came
	Code   int    `json:"code"`   // exit status; -1: it did not run, or a signal ended it
}
