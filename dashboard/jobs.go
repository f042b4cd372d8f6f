package dashboard

import (
	"context"
	"errors"
	"sync"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
)

// Job is something that takes long and that the page began: a start, or an addon that becomes ready. A new value describes
// each change of it.
type Job struct {
	ID    int      `json:"id"`
	What  string   `json:"what"`  // "start", "enable", "disable", "save", "restore" or "delete"
	About string   `json:"about"` // the addon or snapshot; empty for a start
	Text  string   `json:"text"`  // what it does now
	Step  int      `json:"step,omitempty"`
	Steps int      `json:"steps,omitempty"`
	Done  int64    `json:"done,omitempty"` // bytes
	Total int64    `json:"total,omitempty"`
	Ended bool     `json:"ended"`
	Error *Problem `json:"error,omitempty"`
}

// jobs runs one job at a time: all of them change the cluster, which has a lock for that.
type jobs struct {
	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // of Serve: jobs outlive the requests that begin them
	running *sync.WaitGroup
	job     *Job // the last; never changed, only replaced
	notice  chan struct{}
}

func newJobs() *jobs { return &jobs{notice: make(chan struct{})} }

// within lets jobs begin, until ctx ends. They are counted in running.
func (j *jobs) within(ctx context.Context, running *sync.WaitGroup) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ctx, j.running = ctx, running
}

// begin starts a job and returns at once. One that runs already is fail.ClusterLocked.
func (j *jobs) begin(what, about string, do func(context.Context, cluster.Sink) error) (Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	op := what + " " + about
	switch {
	case j.ctx == nil || j.ctx.Err() != nil:
		return Job{}, fail.New(fail.Interrupted, op, "the dashboard ends")
	case j.job != nil && !j.job.Ended:
		return Job{}, fail.New(fail.ClusterLocked, op, "the page is doing something else: %s", j.job.Text).WithHint("Wait until it has ended.")
	}
	next := Job{ID: 1, What: what, About: about}
	if j.job != nil {
		next.ID = j.job.ID + 1
	}
	j.replace(next)
	ctx := j.ctx
	j.running.Go(func() {
		err := do(ctx, func(e cluster.Event) { j.update(e) })
		j.mu.Lock()
		defer j.mu.Unlock()
		ended := *j.job
		ended.Ended, ended.Error = true, problemOf(err)
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			ended.Error = &Problem{Message: "the dashboard ended"}
		}
		j.replace(ended)
	})
	return next, nil
}

// aside does what changes nothing of skiff's own beside the job, until the context of within ends.
func (j *jobs) aside(do func(context.Context)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ctx == nil || j.ctx.Err() != nil {
		return fail.New(fail.Interrupted, "begin", "the dashboard ends")
	}
	ctx := j.ctx
	j.running.Go(func() { do(ctx) })
	return nil
}

func (j *jobs) update(e cluster.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	next := *j.job
	next.Done, next.Total = e.Done, e.Total
	if e.Steps > 0 {
		next.Step, next.Steps = e.Index, e.Steps
	}
	if e.Text != "" {
		next.Text = e.Text
	}
	j.replace(next)
}

// replace needs the lock.
func (j *jobs) replace(next Job) {
	j.job = &next
	close(j.notice)
	j.notice = make(chan struct{})
}

func (j *jobs) last() *Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.job
}

// changed returns a channel that is closed at the next change.
func (j *jobs) changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.notice
}
