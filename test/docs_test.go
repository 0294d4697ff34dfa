package test

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft/config"
	"weft/frame"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	link = regexp.MustCompile(`\]\(([^)#\s]+)`)
	yaml = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	row  = regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|")
	rule = regexp.MustCompile(`(?m)^\| (B\d\d) \|`)
	kept = regexp.MustCompile(`(?m)^func Test(B\d\d)`)
)

// Every relative link in the documentation leads to a file.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range find(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(path.Join("..", path.Dir(name), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			}
		}
	}
}

// A configuration that is shown is one that loads.
func TestShownConfigurationsLoad(t *testing.T) {
	for _, name := range []string{"README.md", "docs/guide.md"} {
		blocks := yaml.FindAllStringSubmatch(read(t, name), -1)
		if len(blocks) == 0 {
			t.Errorf("%s shows no configuration", name)
		}
		for _, m := range blocks {
			if _, err := config.NewDocument([]byte(m[1])); err != nil {
				t.Errorf("%s: %v\n%s", name, err, m[1])
			}
		}
	}
}

// The guide's table of drop reasons has each of them, in the order of the code.
func TestGuideExplainsEveryDropReason(t *testing.T) {
	var want []string
	for r := frame.Reason(1); r < frame.NumReasons; r++ {
		want = append(want, r.String())
	}
	if got := explained(t, "| reason | what happened |"); !slices.Equal(got, want) {
		t.Errorf("docs/guide.md explains\n%v, want\n%v", got, want)
	}
}

// The guide's table of refusals of the flow cache too.
func TestGuideExplainsEveryRefusal(t *testing.T) {
	var want []string
	for r := frame.Refusal(1); r < frame.NumRefusals; r++ {
		want = append(want, r.String())
	}
	if got := explained(t, "| reason | why the kernel does not carry it |"); !slices.Equal(got, want) {
		t.Errorf("docs/guide.md explains\n%v, want\n%v", got, want)
	}
}

// And that of misses, which are named in fastpath/stats.go.
func TestGuideExplainsEveryMiss(t *testing.T) {
	var want []string
	_, names, _ := strings.Cut(read(t, "fastpath/stats.go"), "reasonNames = [...]string{")
	names, _, _ = strings.Cut(names, "}")
	for _, m := range regexp.MustCompile(`"([a-z-]+)"`).FindAllStringSubmatch(names, -1) {
		want = append(want, m[1])
	}
	if got := explained(t, "| reason | what it was |"); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("docs/guide.md explains\n%v, want\n%v", got, want)
	}
}

// explained returns the first column of the guide's table that has that head.
func explained(t *testing.T, head string) (names []string) {
	t.Helper()
	_, table, _ := strings.Cut(read(t, "docs/guide.md"), head)
	table, _, _ = strings.Cut(table, "\n\n")
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		names = append(names, m[1])
	}
	return names
}

// Decisions are numbered from 1 without a gap, and their titles say the number.
func TestDecisionsAreNumbered(t *testing.T) {
	entries, err := os.ReadDir("../docs/adr") // sorted
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(e.Name(), want) {
			t.Errorf("docs/adr/%s: its number is taken, or one before it is missing (want %s…)", e.Name(), want)
		}
		if title := fmt.Sprintf("# %d. ", i+1); !strings.HasPrefix(read(t, "docs/adr/"+e.Name()), title) {
			t.Errorf("docs/adr/%s: its title does not begin with %q", e.Name(), title)
		}
	}
}

// Each rule of the relay has its test, and each test that bears a number its rule.
func TestRulesOfTheRelayHaveTests(t *testing.T) {
	var rules, tests []string
	for _, m := range rule.FindAllStringSubmatch(read(t, "docs/ARCHITECTURE.md"), -1) {
		rules = append(rules, m[1])
	}
	for _, name := range find(t, ".go") {
		if path.Dir(name) != "switch" {
			continue
		}
		for _, m := range kept.FindAllStringSubmatch(read(t, name), -1) {
			tests = append(tests, m[1])
		}
	}
	slices.Sort(tests)
	if tests = slices.Compact(tests); len(rules) == 0 || !slices.Equal(rules, tests) {
		t.Errorf("docs/ARCHITECTURE.md has the rules %v, switch/ tests %v", rules, tests)
	}
}
