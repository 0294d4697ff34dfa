// Package test holds the rules of the repository itself: who may import whom, and that
// what is written about weft is so.
package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A source is one Go file, with its path from the top of the repository.
type source struct {
	path    string
	file    *ast.File
	imports []string
}

func (s source) test() bool            { return strings.HasSuffix(s.path, "_test.go") }
func (s source) in(folder string) bool { return strings.HasPrefix(s.path, folder+"/") }
func (s source) top() string           { return strings.SplitN(s.path, "/", 2)[0] }

// find returns the paths of the repository's files with the extension ext.
func find(t *testing.T, ext string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != ".." && (d.Name()[0] == '.' || d.Name() == "bin" || d.Name() == "build" || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.IsDir() && filepath.Ext(name) == ext:
			found = append(found, strings.TrimPrefix(filepath.ToSlash(name), "../"))
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("looking for %s: %d files, %v", ext, len(found), err)
	}
	return found
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, name := range find(t, ".go") {
		f, err := parser.ParseFile(token.NewFileSet(), "../"+name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s := source{path: name, file: f}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			s.imports = append(s.imports, imported)
		}
		all = append(all, s)
	}
	return all
}

// within reports whether the package is root or lies below it.
func within(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

// The star: frame in the middle, rooms that know it and the document, one hall.
func TestStarOfImports(t *testing.T) {
	seen := make(map[string]map[string]bool) // by folder below internal
	for _, s := range sources(t) {
		for _, imported := range s.imports {
			ours := within(imported, "weft")
			switch s.top() {
			case "frame":
				if std := !strings.Contains(imported, "."); path.Dir(s.path) == "frame" && !s.test() && (ours || !std) {
					t.Errorf("%s imports %s: frame wants the standard library only", s.path, imported)
				} else if ours && !within(imported, "weft/frame") {
					t.Errorf("%s imports %s: frame knows no room", s.path, imported)
				}
			case "cmd":
				if ours && !s.test() && !within(imported, "weft/internal") && imported != "weft/config" && imported != "weft/frame" {
					t.Errorf("%s imports %s: cmd sees internal, config and frame", s.path, imported)
				}
			case "internal":
				room := ours && !within(imported, "weft/internal") && !within(imported, "weft/frame")
				if folder := path.Dir(s.path); room && !s.test() {
					if seen[folder] == nil {
						seen[folder] = make(map[string]bool)
					}
					seen[folder][imported] = true
				}
			case "test":
				if ours && !within(imported, "weft/test") && imported != "weft/frame" && imported != "weft/internal/control/api" && s.path != "test/docs_test.go" {
					t.Errorf("%s imports %s: test looks from outside, by frames and the API", s.path, imported)
				}
			default: // the rooms
				if ours && !within(imported, "weft/frame") && imported != "weft/config" && !within(imported, "weft/"+s.top()) {
					t.Errorf("%s imports %s: a room sees frame and config, and no other room", s.path, imported)
				}
			}
		}
	}
	for folder, rooms := range seen {
		if folder != "internal/daemon" && len(rooms) > 1 {
			t.Errorf("%s sees %d rooms, %v: only internal/daemon may see more than one", folder, len(rooms), rooms)
		}
	}
	if len(seen["internal/daemon"]) < 3 {
		t.Errorf("internal/daemon sees %v: is this test looking at the right files?", seen["internal/daemon"])
	}
}

// Where a library may be used.
func TestLibrariesStayInTheirRooms(t *testing.T) {
	for library, may := range map[string]func(source) bool{
		"github.com/songgao/water": func(s source) bool { return s.in("tap") },
		// The hall hands programs from one room to the other.
		"github.com/cilium/ebpf": func(s source) bool {
			return s.in("tap") || s.in("fastpath") || s.in("internal/daemon") || s.in("test")
		},
		"go.uber.org/zap": func(s source) bool { return s.in("cmd") || s.in("internal") },
		// It allocates for each frame: never on the way of a frame.
		"github.com/google/gopacket": func(s source) bool {
			return s.test() || s.in("frame/frametest") || s.in("internal/control/capture")
		},
		"golang.org/x/sys/unix": func(s source) bool {
			return strings.HasSuffix(s.path, "_linux.go") || s.test() || s.in("test") || s.path == "internal/daemon/doctor.go" // which asks the kernel what it can
		},
	} {
		users := 0
		for _, s := range sources(t) {
			for _, imported := range s.imports {
				if !within(imported, library) {
					continue
				}
				users++
				if !may(s) {
					t.Errorf("%s imports %s, which has its place elsewhere", s.path, imported)
				}
			}
		}
		if users == 0 {
			t.Errorf("nobody imports %s: take its rule out", library)
		}
	}
}

func TestOnePackageCommentPerFolder(t *testing.T) {
	comments := make(map[string]int)
	for _, s := range sources(t) {
		n := 0
		if doc := s.file.Doc; doc != nil && !ast.IsGenerated(s.file) {
			n = 1
			name := s.file.Name.Name
			if want := "Package " + name + " "; name != "main" && !strings.HasPrefix(doc.Text(), want) {
				t.Errorf("%s: the package comment does not begin with %q", s.path, want)
			}
		}
		comments[path.Dir(s.path)] += n
	}
	for folder, n := range comments {
		if n != 1 {
			t.Errorf("%s has %d package comments, want one", folder, n)
		}
	}
}
