package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// prefix starts the names of all namespaces of this process.
func prefix() string { return fmt.Sprintf("wt-e%d-", os.Getpid()) }

// startJanitor starts a process that outlives this one, if only by a moment, and
// deletes the namespaces that it left: a test binary that panics or runs into its
// time limit ends without its clean-ups. Child processes die with it (Pdeathsig).
var startJanitor = sync.OnceValue(func() error {
	script := `read -r _
for ns in $(ip netns list | cut -d " " -f 1); do
	case $ns in "$1"*) ip netns delete "$ns" ;; esac
done`
	cmd := exec.Command("sh", "-c", script, "janitor", prefix())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var err error
	if janitorLine, err = cmd.StdinPipe(); err != nil {
		return err
	}
	return cmd.Start()
})

// janitorLine is closed by the end of this process, and, held here, not before.
var janitorLine io.Closer
