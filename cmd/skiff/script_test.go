package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/internal/host"
)

// TestScripts runs every script below testdata/script; a folder there is a group.
func TestScripts(t *testing.T) {
	t.Parallel()
	folders := map[string]bool{}
	err := filepath.WalkDir(filepath.Join("testdata", "script"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".txtar" {
			folders[filepath.Dir(path)] = true
		}
		return err
	})
	if err != nil || len(folders) == 0 {
		t.Fatalf("look for scripts: found %d folders, error %v", len(folders), err)
	}
	for folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, testscript.Params{Dir: folder, Setup: setup, Cmds: commands(), Condition: condition, RequireExplicitExec: true, RequireUniqueNames: true})
		})
	}
}

// setup gives a script a home of its own, a guest image and a kubeconfig.
func setup(env *testscript.Env) error {
	home, err := os.MkdirTemp("", "skiff-script-")
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(home) })
	env.Defer(func() { endAgents(home) })
	image := filepath.Join(env.WorkDir, "image")
	env.Setenv("SKIFF_HOME", home)
	env.Setenv("SKIFF_IMAGE", image)
	env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "kubeconfig"))
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("CI", "1")
	name, value, _ := strings.Cut(quickEnd, "=")
	env.Setenv(name, value)
	return clustertest.Image(env.T().(testing.TB).Context(), image)
}

// endAgents ends the agents that a script has left: those that are processes outlive it.
func endAgents(home string) {
	sockets, _ := filepath.Glob(filepath.Join(home, "run", "*", "agent.sock"))
	for _, socket := range sockets {
		_ = agent.Dial(socket).Shutdown(context.Background())
	}
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"appears": appears, "becomes": becomes, "code": code, "connects": connects, "flip": flip, "killagent": killAgent, "listen": listen, "lines": lines,
		"serve": serve, "sum": sum,
	}
}

// condition knows "spacious": there is so much room on the disk that a warm spare is prepared in the background.
func condition(name string) (bool, error) {
	if name != "spacious" {
		return false, fmt.Errorf("there is no condition %q", name)
	}
	const enough = 16 << 30
	free, err := host.FreeBytes(os.TempDir())
	return free > enough, err
}

// appears waits until there is a file, which something in the background makes: appears FILE.
func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appears FILE")
	}
	const limit = time.Minute
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s did not appear within %s", args[0], limit)
		}
	}
}

// becomes waits until the machine is in a state, which its agent brings about: becomes Paused.
func becomes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: becomes STATE")
	}
	const limit = time.Minute
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		_ = ts.Exec("skiff", "status", "--format", "{{.Host}}") // its exit code says the same
		got := strings.TrimSpace(ts.ReadFile("stdout"))
		if got == args[0] {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the machine is %s after %s, want %s", got, limit, args[0])
		}
	}
}

// connects connects to an address, and waits until the other side has ended that: connects ADDRESS:PORT.
func connects(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: connects ADDRESS:PORT")
	}
	conn, err := net.Dial("tcp", args[0]) //nolint:noctx // it is answered at once or not at all
	ts.Check(err)
	defer func() { _ = conn.Close() }()
	_, _ = io.Copy(io.Discard, conn)
}

// killAgent ends an agent that is a process, as kill -9 does: killagent PROFILE.
func killAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: killagent PROFILE")
	}
	client := agent.Dial(filepath.Join(ts.Getenv("SKIFF_HOME"), "run", args[0], "agent.sock"))
	status, err := client.Status(context.Background())
	ts.Check(err)
	ts.Check(syscall.Kill(status.PID, syscall.SIGKILL))
	for end := time.Now().Add(time.Minute); err == nil; {
		if _, err = client.Status(context.Background()); time.Now().After(end) {
			ts.Fatalf("the agent still answers")
		}
	}
}

// code runs a command and expects an exit code: code 5 skiff ip.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [argument]...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%q ended with code %d, want %s", args[1:], got, args[0])
	}
}

// flip changes a byte of each file that matches the pattern.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip PATTERN")
	}
	paths, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(paths) == 0 {
		ts.Fatalf("nothing matches %s", args[0])
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		ts.Check(err)
		content[len(content)/2] ^= 1
		ts.Check(os.Chmod(path, 0o600))
		ts.Check(os.WriteFile(path, content, 0o600))
	}
}

// listen occupies an address until the script ends.
func listen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen ADDRESS:PORT")
	}
	listener, err := net.Listen("tcp", args[0]) //nolint:noctx // binding does not block
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
}

// lines expects the last output to have so many lines: lines stderr 1.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines stdout|stderr N")
	}
	if got := fmt.Sprint(strings.Count(ts.ReadFile(args[0]), "\n")); got != args[1] {
		ts.Fatalf("%s has %s lines, want %s", args[0], got, args[1])
	}
}

// serve serves a folder until the script ends: serve VARIABLE FOLDER. The variable becomes its URL. Requests and their ranges are
// written to the file "requests". The first answer with the largest file is cut off in its middle.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serve VARIABLE FOLDER")
	}
	folder := ts.MkAbs(args[1])
	log, err := os.OpenFile(ts.MkAbs("requests"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	var cut sync.Once
	large := largest(ts, folder)
	files := http.FileServer(http.Dir(folder))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(log, r.Method, r.URL.Path, r.Header.Get("Range"))
		if r.URL.Path == "/"+large {
			cut.Do(func() {
				content, _ := os.ReadFile(filepath.Join(folder, large))
				w.Header().Set("Content-Length", strconv.Itoa(len(content)))
				_, _ = w.Write(content[:len(content)/2])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
		}
		files.ServeHTTP(w, r)
	}))
	ts.Defer(func() { _ = log.Close() })
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

// largest is the path of the largest file below folder.
func largest(ts *testscript.TestScript, folder string) (found string) {
	var size int64
	ts.Check(filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > size {
			size = info.Size()
			found, err = filepath.Rel(folder, path)
		}
		return err
	}))
	return found
}

// sum sets a variable to the digest of a file, as references have it: sum VARIABLE FILE.
func sum(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sum VARIABLE FILE")
	}
	ts.Setenv(args[0], digest.FromString(ts.ReadFile(args[1])).String())
}
