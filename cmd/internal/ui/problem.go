package ui

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// Problem is an error as it is shown.
type Problem struct {
	ID     fail.ID
	Code   int
	Op     string // what failed
	Why    string
	Text   string // both, with all that callers added around them
	Output string
	Advice string
	Next   string
}

// Problems takes an error apart: what errors.Join put together is several problems. They keep their order.
func Problems(err error) []Problem {
	if err == nil {
		return nil
	}
	if many := joined(err); many != nil {
		var problems []Problem
		for _, one := range many {
			problems = append(problems, Problems(one)...)
		}
		return problems
	}
	return []Problem{problem(err)}
}

// joined returns the parts of an error that is nothing but its parts, a line each, as errors.Join makes it. An error that
// wraps several and says more is left whole.
func joined(err error) []error {
	parts, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	texts := make([]string, 0, len(parts.Unwrap()))
	for _, part := range parts.Unwrap() {
		texts = append(texts, part.Error())
	}
	if err.Error() != strings.Join(texts, "\n") {
		return nil
	}
	return parts.Unwrap()
}

func problem(err error) Problem {
	p := Problem{ID: fail.Internal, Why: err.Error(), Text: err.Error()}
	if known, ok := errors.AsType[*fail.Error](err); ok {
		p.ID, p.Op, p.Output, p.Advice, p.Next = known.ID, known.Op, known.Output, known.Hint, known.Next
		if known.Err != nil {
			p.Why = known.Err.Error()
		}
	}
	kind := fail.Lookup(p.ID)
	p.Code = kind.Code
	if p.Advice == "" {
		p.Advice = kind.Advice
	}
	var ran *machine.RunError
	if p.Output == "" && errors.As(err, &ran) {
		p.Output = string(ran.Stderr)
		if strings.TrimSpace(p.Output) == "" {
			p.Output = string(ran.Stdout)
		}
	}
	p.Output = lastLines(p.Output, 20)
	return p
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Fail shows an error and returns the exit code that it stands for, which is that of the first problem; 0 for nil.
func (p *Printer) Fail(err error) int {
	problems := Problems(err)
	if len(problems) == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renderer.close()
	if stream, ok := p.renderer.(*jsonRenderer); ok {
		for _, one := range slices.Backward(problems) { // the first is the last line, and the exit code is its
			stream.problem(one)
		}
		return problems[0].Code
	}
	for _, one := range problems {
		one.write(p.streams.Err)
	}
	return problems[0].Code
}

func (p Problem) write(w io.Writer) {
	fmt.Fprintf(w, "Error: %s\n", Clean([]byte(p.Text)))
	if p.Output != "" {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(string(Clean([]byte(p.Output))), "\n", "\n  "))
	}
	if p.Advice != "" {
		fmt.Fprintln(w, p.Advice)
	}
	if p.Next != "" {
		fmt.Fprintf(w, "Next: %s\n", p.Next)
	}
	fmt.Fprintf(w, "Docs: %s\n", page(p.ID))
}
