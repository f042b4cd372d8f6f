package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/symptom"
)

const (
	// patience is how long a wait goes without progress before the machine's logs are read.
	patience = 20 * time.Second
	// lookTick is how often they are read after that. Where reading takes long, as on an emulated machine, the pause is lookShare
	// times as long as that took: the machine has better things to do.
	lookTick  = 5 * time.Second
	lookShare = 10
	// lookLimit bounds one reading.
	lookLimit = 10 * time.Second
)

// watcher says what keeps a wait, and ends it where that does not get better.
type watcher struct {
	runner machine.Runner // nil: no logs are read, and nothing is final
	config Config
	op     string
	lacks  func() string // what is waited for, a main clause; empty: it has come
}

// during calls wait. When that has not called progress for patience, Config.Stalled is told what is waited for and why it does
// not come, each text once. A reason that is final ends the wait with fail.NodeFailed. A machine that does not answer delays
// nothing: wait continues, and its end is not put off.
func (w watcher) during(ctx context.Context, wait func(ctx context.Context, progress func()) error) error {
	waiting, end := context.WithCancelCause(ctx)
	defer end(nil)
	var mu sync.Mutex
	said := map[string]bool{}
	say := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if waiting.Err() == nil && !said[text] && w.config.Stalled != nil {
			said[text] = true
			w.config.Stalled(text)
		}
	}
	progress := make(chan struct{}, 1)
	go func() {
		if final := w.look(waiting, progress, say); final != nil {
			end(final)
		}
	}()
	err := wait(waiting, func() {
		select {
		case progress <- struct{}{}:
		default:
		}
	})
	final, ok := errors.AsType[*fail.Error](context.Cause(waiting))
	end(nil)
	mu.Lock() // what is being said now is said before this returns, and nothing after that
	defer mu.Unlock()
	if ok && err != nil && ctx.Err() == nil {
		return final
	}
	return err
}

// look reads the logs when there is no progress, and returns the error for a reason that is final.
func (w watcher) look(ctx context.Context, progress <-chan struct{}, say func(string)) error {
	last := time.Now()
	diagnosis := &symptom.Diagnosis{Offline: w.config.Offline}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-progress:
			last = time.Now()
			diagnosis = &symptom.Diagnosis{Offline: w.config.Offline}
			timer.Reset(patience)
			continue
		case <-timer.C:
		}
		asked := time.Now()
		reason, err := w.reason(ctx, diagnosis, asked.Sub(last))
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			last = asked
		default:
			reason.Text = "the machine's logs cannot be read (" + oneLine(err) + ")"
		}
		if lacks := w.lacks(); lacks != "" {
			say(clauses(lacks, reason.Text))
		}
		if reason.Final {
			return w.config.nodeFailed(w.op, reason)
		}
		timer.Reset(max(lookTick, lookShare*time.Since(asked)))
	}
}

// reason returns what the machine's logs give as the reason, of the time since back.
func (w watcher) reason(ctx context.Context, diagnosis *symptom.Diagnosis, back time.Duration) (symptom.Reason, error) {
	if w.runner == nil {
		return symptom.Reason{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	var output bytes.Buffer
	seconds := strconv.Itoa(int(back / time.Second))
	_, err := w.runner.Run(ctx, machine.Cmd{Args: []string{"sh", "-c", symptom.Script, "sh", seconds}, Stdout: &output})
	if err != nil {
		return symptom.Reason{}, err
	}
	return diagnosis.Read(output.String(), back), nil
}

// nodeFailed is the error for a reason that is final.
func (c Config) nodeFailed(op string, reason symptom.Reason) error {
	hint := "Correct that on the machine, or the --extra-config that leads to it, and"
	if reason.Hint != "" {
		hint = reason.Hint + " Then"
	}
	return fail.New(fail.NodeFailed, op, "%s", reason.Text).WithHint("%s run start again: it continues where it was.", hint).
		WithNext("skiff logs -p %s", c.ClusterName)
}

func clauses(lacks, why string) string {
	if why == "" {
		return lacks
	}
	return fmt.Sprintf("%s: %s", lacks, why)
}
