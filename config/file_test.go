package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/config"
)

func TestLoadNamesTheRemedy(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ path, want string }{
		"missing":   {filepath.Join(dir, "none.yaml"), "no such file or directory (write one, or name another with --config)"},
		"directory": {dir, "is a directory"},
		"too long":  {write("long", strings.Repeat("#\n", config.MaxSize)), "longer than 1048576 bytes"},
		"empty":     {write("empty", "\n"), "is empty (for no networks at all, write networks: [])"},
		"faults":    {write("bad", "networks: 4\n"), `networks: "4" is one value (want a list)`},
	} {
		if _, err := config.Load(c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
	d, err := config.Load(write("good", string(config.Example)))
	if err != nil || string(d.Bytes()) != string(config.Example) || len(d.Config().Networks) != 1 {
		t.Errorf("example: got %+v, %v", d, err)
	}
}

func TestSaveReplacesAndKeepsModeOwnerAndLink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "weft.yaml")
	if err := os.WriteFile(real, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(real, 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("real.yaml", link); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(real)
	if err != nil {
		t.Fatal(err)
	}
	if err := config.Save(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); to != "real.yaml" {
		t.Errorf("the link is gone: %q %v", to, err)
	}
	after, err := os.Stat(real)
	if err != nil {
		t.Fatal(err)
	}
	if after.Mode() != before.Mode() || owner(t, after) != owner(t, before) {
		t.Errorf("mode %v owner %v, want %v %v", after.Mode(), owner(t, after), before.Mode(), owner(t, before))
	}
	if os.SameFile(before, after) {
		t.Error("written in place, not replaced")
	}
	holds(t, real, "new")
	alone(t, dir, 2)
}

func TestStageWaitsForCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "weft.yaml")
	if err := config.Save(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	for _, commit := range []bool{false, true} {
		s, err := config.Stage(path, []byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		holds(t, path, "old")
		if commit {
			if err := s.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		s.Discard()
		alone(t, dir, 1)
	}
	holds(t, path, "new")
}

func TestSaveMakesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.yaml")
	if err := config.Save(path, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o644 {
		t.Errorf("got %v %v, want mode 0644", fi, err)
	}
	holds(t, path, "text")
}

func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked.yaml")
	if err := os.WriteFile(locked, []byte("old"), 0o444); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		locked:                             "is read-only (chmod u+w",
		dir:                                "is not a regular file",
		filepath.Join(dir, "no", "x.yaml"): "no such file or directory",
	} {
		if err := config.Save(path, []byte("new")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", path, err, want)
		}
	}
	if err := config.Save(locked, []byte("new")); !errors.Is(err, config.ErrReadOnly) {
		t.Errorf("got %v, want ErrReadOnly", err)
	}
	holds(t, locked, "old")
	alone(t, dir, 1)
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); string(got) != want {
		t.Errorf("%s holds %q (%v), want %q", path, got, err, want)
	}
}

// alone reports what is left behind in dir beside n files.
func alone(t *testing.T, dir string, n int) {
	t.Helper()
	if files, err := os.ReadDir(dir); len(files) != n {
		t.Errorf("%d files in %s, want %d: %v %v", len(files), dir, n, files, err)
	}
}
