// Command agent is process 1 of a test guest. It loads the virtio drivers, then
// runs the commands that the test sends. It is also the two ends of some conversations,
// in guests and in namespaces: `agent serve` and `agent transfer` of a checked TCP
// transfer, `agent tell` and `agent ask` of the question how one looks to the other,
// `agent reflect` and `agent probe` of package stun's.
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
	case len(os.Args) == 3 && os.Args[1] == "tell":
		err = tell(os.Args[2])
	case len(os.Args) > 3 && os.Args[1] == "ask":
		err = ask(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "reflect":
		err = reflect(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "probe":
		err = probe(os.Args[2:])
	default:
		err = errors.New("usage: agent serve | transfer | tell | ask | reflect | probe ARGUMENTS")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}
