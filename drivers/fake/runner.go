package fake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"

	"github.com/skiff-k8s/skiff/machine"
)

// Response is the answer to commands that begin with certain arguments.
type Response struct {
	Prefix   []string `json:"prefix"` // first arguments of the command; none: every command
	Stdout   string   `json:"stdout"`
	Stderr   string   `json:"stderr"`
	ExitCode int      `json:"exitCode"` // other than 0: the command fails with *machine.RunError
	Error    string   `json:"error"`    // the command could not be run at all, as when the connection is lost
	Hang     bool     `json:"hang"`     // the command runs until ctx ends
	Times    int      `json:"times"`    // how often this response is given in one process, before the next one matches; 0: always
}

// Responses answer commands: the first one that matches does.
type Responses []Response

var _ machine.Runner = (*Runner)(nil)

// Runner is a machine.Runner that runs nothing. Files that were Put lie below its folder, so that `cat FILE…` and
// `stat -c %a FILE` answer from them, and `cat` alone repeats its input, unless a response says otherwise. Every other
// command succeeds and prints nothing. It is safe for concurrent use.
type Runner struct {
	dir string

	mu        sync.Mutex
	responses Responses
	used      []int // how often each response was given
}

// NewRunner returns a Runner that keeps its files below dir, which is made when it is needed.
func NewRunner(dir string, responses Responses) *Runner {
	return &Runner{dir: dir, responses: slices.Clone(responses), used: make([]int, len(responses))}
}

// Run answers cmd, and keeps it for Commands.
func (r *Runner) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	if err := ctx.Err(); err != nil {
		return machine.Result{}, fmt.Errorf("run %q: %w", cmd, err)
	}
	if len(cmd.Args) == 0 {
		return machine.Result{}, errors.New("a command needs at least one argument")
	}
	if err := r.record(cmd); err != nil {
		return machine.Result{}, err
	}
	response, ok := r.match(cmd.Args)
	if !ok {
		var err error
		if response, err = r.builtin(cmd); err != nil {
			return machine.Result{}, err
		}
	}
	if response.Hang {
		<-ctx.Done()
		return machine.Result{}, fmt.Errorf("run %q: %w", cmd, ctx.Err())
	}
	if response.Error != "" {
		return machine.Result{}, fmt.Errorf("run %q: %s", cmd, response.Error)
	}
	return response.give(cmd)
}

// give writes the output to where cmd wants it.
func (r Response) give(cmd machine.Cmd) (machine.Result, error) {
	var stdout, stderr bytes.Buffer
	for _, out := range []struct {
		text string
		to   io.Writer
		kept *bytes.Buffer
	}{{r.Stdout, cmd.Stdout, &stdout}, {r.Stderr, cmd.Stderr, &stderr}} {
		if out.to == nil {
			out.to = out.kept
		}
		if _, err := io.WriteString(out.to, out.text); err != nil {
			return machine.Result{}, fmt.Errorf("run %q: %w", cmd, err)
		}
	}
	if r.ExitCode != 0 {
		return machine.Result{}, &machine.RunError{Cmd: cmd.String(), ExitCode: r.ExitCode, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	}
	return machine.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}, nil
}

func (r *Runner) match(args []string) (Response, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, response := range r.responses {
		spent := response.Times > 0 && r.used[i] >= response.Times
		if !spent && len(args) >= len(response.Prefix) && slices.Equal(args[:len(response.Prefix)], response.Prefix) {
			r.used[i]++
			return response, true
		}
	}
	return Response{}, false
}

// builtin answers the few commands that read what was Put. Other commands read all of their input, as most real ones.
func (r *Runner) builtin(cmd machine.Cmd) (Response, error) {
	var input bytes.Buffer
	if cmd.Stdin != nil {
		if _, err := io.Copy(&input, cmd.Stdin); err != nil {
			return Response{}, fmt.Errorf("run %q: %w", cmd, err)
		}
	}
	var out strings.Builder
	var err error
	switch args := cmd.Args; {
	case len(args) == 1 && args[0] == "cat":
		out.WriteString(input.String())
	case args[0] == "cat":
		for _, name := range args[1:] {
			content, readErr := r.ReadFile(name)
			out.Write(content)
			err = errors.Join(err, readErr)
		}
	case len(args) == 4 && slices.Equal(args[:3], []string{"stat", "-c", "%a"}):
		var info fs.FileInfo
		if info, err = os.Stat(r.file(args[3])); err == nil {
			fmt.Fprintf(&out, "%o\n", info.Mode().Perm())
		}
	}
	if err != nil {
		return Response{Stdout: out.String(), Stderr: cmd.Args[0] + ": No such file or directory\n", ExitCode: 1}, nil
	}
	return Response{Stdout: out.String()}, nil
}

// Put keeps the file below the Runner's folder. The modes given must let the owner read.
func (r *Runner) Put(ctx context.Context, name string, mode fs.FileMode, body io.Reader) error {
	if !path.IsAbs(name) {
		return fmt.Errorf("put %q: the path is not absolute", name)
	}
	content, err := io.ReadAll(body)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(r.file(name)), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(r.file(name), content, mode, renameio.IgnoreUmask())
	}
	if err != nil {
		return fmt.Errorf("put %q: %w", name, err)
	}
	return nil
}

// ReadFile returns the content of a file that was Put; an error that wraps fs.ErrNotExist when none was.
func (r *Runner) ReadFile(name string) ([]byte, error) { return os.ReadFile(r.file(name)) }

// file is where the guest's file of that name lies; path.Clean keeps it below the folder.
func (r *Runner) file(name string) string {
	return filepath.Join(r.dir, "root", filepath.FromSlash(path.Clean("/"+name)))
}

// Commands returns the commands that were run, in order, also those of other processes. They go with the machine.
func (r *Runner) Commands() ([][]string, error) {
	file, err := os.Open(r.log())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var commands [][]string
	for lines := json.NewDecoder(file); ; {
		var args []string
		switch err := lines.Decode(&args); {
		case errors.Is(err, io.EOF):
			return commands, nil
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", r.log(), err)
		}
		commands = append(commands, args)
	}
}

func (r *Runner) log() string { return filepath.Join(r.dir, "commands.jsonl") }

// record appends in one write, so that lines of two processes do not mix.
func (r *Runner) record(cmd machine.Cmd) error {
	line, err := json.Marshal(cmd.Args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(r.log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}
