package lab

import (
	"fmt"
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
	// The pipe's end is never closed but by the end of this process.
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	return cmd.Start()
})
