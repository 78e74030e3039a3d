package issuer

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMapsAreComplete: the comment of a doc.go is the map of its package. It names
// every file of the package that is no test, and none that is not there.
func TestMapsAreComplete(t *testing.T) {
	maps := 0
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "doc.go" {
			return err
		}
		maps++
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		checkMap(t, filepath.Dir(file), string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if maps < 15 {
		t.Errorf("%d maps found, which cannot be all", maps)
	}
}

// checkMap looks for what a map names: files of a folder, or several at once, as
// grant_<name>.go.
func checkMap(t *testing.T, dir, text string) {
	t.Helper()
	found := map[string]bool{"doc.go": true}
	for _, name := range regexp.MustCompile(`[\w<>*]+\.go\b`).FindAllString(text, -1) {
		files, err := filepath.Glob(filepath.Join(dir, regexp.MustCompile(`<\w+>`).ReplaceAllString(name, "*")))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: there is no %s (%v)", dir, name, err)
		}
		for _, file := range files {
			found[filepath.Base(file)] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !found[name] && !strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s: doc.go does not name %s", dir, name)
		}
	}
}
