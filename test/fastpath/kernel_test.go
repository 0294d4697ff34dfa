package fastpath

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weft/test/guest"
	"weft/test/lab"
)

// The tests of package fastpath pass on the guests' kernel too, which is older than most
// machines': it has neither tcx nor the functions by which later ones read a buffer.
func TestOlderKernel(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	image, err := guest.Build()
	if err != nil {
		t.Fatal(err)
	}
	root, err := guest.Repository()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "fastpath.test")
	build := exec.Command("go", "test", "-c", "-o", program, "./fastpath")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	image, err = image.With(filepath.Join(dir, "initramfs"), map[string]string{"bin/fastpath.test": program},
		"tun", "veth", "sch_ingress", "cls_bpf")
	if err != nil {
		t.Fatal(err)
	}
	var console strings.Builder
	g, err := guest.Boot(l.Context(), image, guest.Config{Name: "older", CPUs: 2, Memory: 1024, Log: &console})
	if err != nil {
		t.Fatalf("%v\n%s", err, console.String())
	}
	l.Cleanup(func() { _ = g.Kill() })
	out, err := g.Run(l.Context(), "cd /tmp && uname -r && WEFT_E2E_REQUIRED=1 fastpath.test -test.timeout 5m -test.v 2>&1")
	if err != nil || !strings.Contains(out, "\nPASS\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	release, rest, _ := strings.Cut(out, "\n")
	t.Logf("Linux %s: %d tests pass, %d are skipped", release, strings.Count(rest, "\n--- PASS"), strings.Count(rest, "--- SKIP"))
}
