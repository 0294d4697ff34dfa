package guest

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// kernelPackage depends on the newest build of Debian's kernel for virtual machines.
const kernelPackage = "linux-image-cloud-amd64"

// modules are what a guest loads, in this order.
var modules = []string{
	"failover", "net_failover", "virtio_ring", "virtio", "virtio_pci_legacy_dev",
	"virtio_pci_modern_dev", "virtio_pci", "virtio_net", "virtio_console",
}

// etc is a guest's /etc.
//
//go:embed etc
var etc embed.FS

// An Image is what a guest boots.
type Image struct {
	Kernel    string
	Initramfs string
	Agent     string // the agent's binary, for namespaces that play a guest
}

// Build makes the image in build/guest of the repository; the kernel is fetched
// with apt-get the first time. It does so once in a process.
var Build = sync.OnceValues(build)

func build() (Image, error) {
	root, err := Repository()
	if err != nil {
		return Image{}, err
	}
	dir := filepath.Join(root, "build", "guest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Image{}, err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Image{}, err
	}
	defer unlock()

	img := Image{
		Initramfs: filepath.Join(dir, "initramfs"),
		Agent:     filepath.Join(dir, "agent"),
	}
	kernel := filepath.Join(dir, "kernel")
	if img.Kernel, err = fetchKernel(kernel); err != nil {
		return Image{}, fmt.Errorf("guest kernel: %w", err)
	}
	agent := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", img.Agent, "./test/guest/agent")
	agent.Dir = root
	agent.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := agent.CombinedOutput(); err != nil {
		return Image{}, fmt.Errorf("guest agent: %w: %s", err, out)
	}
	if err := writeInitramfs(img.Initramfs, kernel, img.Agent); err != nil {
		return Image{}, fmt.Errorf("guest initramfs: %w", err)
	}
	return img, nil
}

// With returns the image with more in it, which it writes to the file name: files, by
// where they are to be in the guest, and modules, which are loaded in this order.
func (i Image) With(name string, files map[string]string, modules ...string) (Image, error) {
	base, err := os.ReadFile(i.Initramfs)
	if err != nil {
		return i, err
	}
	b := bytes.NewBuffer(base) // the kernel unpacks one archive after the other
	c := &cpioWriter{w: b}
	for dst, src := range files {
		body, err := os.ReadFile(src)
		if err != nil {
			return i, err
		}
		c.file(dst, body)
	}
	if err := addModules(c, filepath.Dir(filepath.Dir(i.Kernel)), "more", modules); err != nil {
		return i, err
	}
	i.Initramfs = name
	return i, errors.Join(c.close(), os.WriteFile(name, b.Bytes(), 0o644))
}

// addModules adds modules of the kernel in dir, to be loaded in this order after those of
// groups whose names come before.
func addModules(c *cpioWriter, dir, group string, modules []string) error {
	for i, m := range modules {
		body, err := readModule(dir, m)
		if err != nil {
			return err
		}
		c.file(fmt.Sprintf("modules/%s-%02d-%s.ko", group, i, m), body)
	}
	return nil
}

// Repository returns the folder of go.mod.
func Repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// lock keeps other processes from building the same files.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// fetchKernel unpacks the kernel's package to dir, if it is not there, without
// installing it, and returns the kernel's path.
func fetchKernel(dir string) (string, error) {
	if found, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*")); err != nil || len(found) > 0 {
		return strings.Join(found, ""), err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	script := `set -e
name=$(apt-cache depends ` + kernelPackage + ` | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ {print $2; exit}')
[ -n "$name" ] || { echo "apt knows no ` + kernelPackage + `: run apt-get update" >&2; exit 1; }
apt-get -q download "$name"
dpkg-deb -x "$name"_*.deb unpacked`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	if err := os.Rename(filepath.Join(tmp, "unpacked"), dir); err != nil {
		return "", err
	}
	return fetchKernel(dir)
}

// writeInitramfs packs busybox, iperf3, the agent, /etc and the virtio modules.
func writeInitramfs(name, kernel, agent string) error {
	var b bytes.Buffer
	c := &cpioWriter{w: &b}
	for _, d := range []string{"bin", "dev", "lib", "lib64", "modules", "proc", "sys", "tmp", "var", "var/run"} {
		c.dir(d)
	}
	err := fs.WalkDir(etc, "etc", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			c.dir(path)
			return err
		}
		body, err := etc.ReadFile(path)
		c.file(path, body)
		return err
	})
	if err != nil {
		return err
	}
	c.char("dev/console", 5, 1)
	c.link("lib/x86_64-linux-gnu", ".")
	c.link("init", "bin/agent")

	files := map[string]string{"bin/agent": agent}
	for _, tool := range []string{"busybox", "iperf3"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			return fmt.Errorf("%w (run `make deps`)", err)
		}
		files["bin/"+tool] = path
		libs, err := libraries(path)
		if err != nil {
			return err
		}
		for _, l := range libs {
			files[strings.TrimPrefix(l, "/")] = l
		}
	}
	for dst, src := range files {
		body, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		c.file(strings.Replace(dst, "lib/x86_64-linux-gnu/", "lib/", 1), body)
	}
	if err := addModules(c, kernel, "base", modules); err != nil {
		return err
	}
	if err := c.close(); err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// libraries returns the shared libraries that the program at path needs.
func libraries(path string) ([]string, error) {
	out, err := exec.Command("ldd", path).CombinedOutput()
	if bytes.Contains(out, []byte("not a dynamic executable")) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w: %s", path, err, out)
	}
	var libs []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		// "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)" or "/lib64/ld-linux-x86-64.so.2 (0x…)"
		for _, f := range strings.Fields(lines.Text()) {
			if strings.HasPrefix(f, "/") {
				libs = append(libs, f)
			}
		}
	}
	return libs, lines.Err()
}

// readModule finds a module under dir, compressed with xz or not.
func readModule(dir, name string) ([]byte, error) {
	pattern := filepath.Join(dir, "lib", "modules", "*", "kernel")
	for _, sub := range []string{"net/core", "net/sched", "drivers/net", "drivers/virtio", "drivers/char"} {
		found, err := filepath.Glob(filepath.Join(pattern, sub, name+".ko*"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		if strings.HasSuffix(found[0], ".xz") {
			return exec.Command("xz", "-dc", found[0]).Output()
		}
		return os.ReadFile(found[0])
	}
	return nil, fmt.Errorf("module %s is not in the kernel's package", name)
}
