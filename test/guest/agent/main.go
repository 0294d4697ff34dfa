// Command agent is process 1 of a test guest. It loads the virtio drivers, then
// runs the commands that the test sends. As `agent serve` and `agent transfer` it
// is also the two ends of a checked TCP transfer, in guests and in namespaces.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	var err error
	switch {
	case os.Getpid() == 1:
		err = runInit()
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "transfer":
		err = transfer(os.Args[2], os.Args[3])
	default:
		err = errors.New("usage: agent serve ADDR | agent transfer ADDR BYTES")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}
