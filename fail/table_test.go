package fail_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
)

func TestTable(t *testing.T) {
	t.Parallel()
	shape := regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`)
	seen := map[fail.ID]bool{}
	for _, kind := range fail.Table() {
		if !shape.MatchString(string(kind.ID)) {
			t.Errorf("ID: got %q, want capitals and underscores", kind.ID)
		}
		if seen[kind.ID] {
			t.Errorf("%s: is there twice", kind.ID)
		}
		seen[kind.ID] = true
		if !strings.HasSuffix(kind.Title, ".") {
			t.Errorf("%s: got title %q, want a sentence", kind.ID, kind.Title)
		}
		if !strings.HasSuffix(kind.Advice, ".") {
			t.Errorf("%s: got advice %q, want a sentence", kind.ID, kind.Advice)
		}
	}
	for _, id := range declaredIDs(t) {
		if !seen[id] {
			t.Errorf("%s: declared, and not in the table", id)
		}
		delete(seen, id)
	}
	for id := range seen {
		t.Errorf("%s: in the table, and not declared", id)
	}
}

// declaredIDs reads the constants of type ID out of table.go, as a program cannot list them.
func declaredIDs(t *testing.T) []fail.ID {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "table.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ids []fail.ID
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != "ID" {
			return true
		}
		for _, value := range spec.Values {
			if literal, ok := value.(*ast.BasicLit); ok {
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, fail.ID(text))
			}
		}
		return true
	})
	if len(ids) == 0 {
		t.Fatal("table.go: got no constants of type ID, want some")
	}
	return ids
}

func TestLookup(t *testing.T) {
	t.Parallel()
	tests := []struct{ id, want fail.ID }{
		{fail.PortInUse, fail.PortInUse},
		{fail.Interrupted, fail.Interrupted},
		{"NO_SUCH_ID", fail.Internal},
		{"", fail.Internal},
	}
	for _, test := range tests {
		if got := fail.Lookup(test.id).ID; got != test.want {
			t.Errorf("Lookup(%q): got %s, want %s", test.id, got, test.want)
		}
	}
}
