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
// removes the namespaces, mounts and files that it left: a test binary that panics or
// runs into its time limit ends without its clean-ups. Child processes die with it
// (Pdeathsig).
var startJanitor = sync.OnceValue(func() error {
	script := `read -r _
for ns in $(ip netns list | cut -d " " -f 1); do
	case $ns in "$1"*) ip netns delete "$ns" ;; esac
done
while read -r _ dir _; do
	case $dir in "$2/$1"*) umount --lazy "$dir" ;; esac
done </proc/mounts
rm -rf "$2/$1"*`
	cmd := exec.Command("sh", "-c", script, "janitor", prefix(), os.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// The writing end is a bare descriptor: nothing closes it but the end of this process.
	var line [2]int
	if err := syscall.Pipe2(line[:], syscall.O_CLOEXEC); err != nil {
		return err
	}
	stdin := os.NewFile(uintptr(line[0]), "janitor")
	defer stdin.Close()
	cmd.Stdin = stdin
	return cmd.Start()
})
