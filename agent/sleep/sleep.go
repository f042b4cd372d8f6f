// Package sleep freezes a machine of which nobody has asked anything for a while, and wakes it for the next who does, who
// waits meanwhile. What is frozen, and how, is the Machine's business; what counts as asking is decided here.
package sleep

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Machine is what is put to sleep. One method is called at a time.
type Machine interface {
	// Freeze halts the machine. It reports false when the machine did not run, such as when somebody paused it by hand: it is
	// not to be woken then.
	Freeze(ctx context.Context) (frozen bool, err error)
	// Thaw lets the machine go on, and returns once it executes; nil when it does already. One that does not run any more is
	// an error, and is left so.
	Thaw(ctx context.Context) error
	// Settle sets right what the machine missed while it was frozen, before all else its clock.
	Settle(ctx context.Context) error
}

const (
	// freezeLimit bounds one attempt to freeze, while whoever comes waits. A machine that is being saved takes longer.
	freezeLimit = 5 * time.Second
	// settleLimit is how long those who woke the machine wait for its clock to be right. Clients of the API server give up a
	// server that takes 10 s to say something (client-go, TLSHandshakeTimeout): a wrong clock is the lesser evil.
	settleLimit = 7 * time.Second
)

type state int

const (
	awake state = iota
	freezing
	asleep
	waking
)

// Sleeper puts a machine to sleep and wakes it. It is safe for concurrent use.
type Sleeper struct {
	ctx     context.Context // ends what goes on in the background
	machine Machine         // nil: it never sleeps
	log     *slog.Logger

	mu      sync.Mutex
	idle    idle
	state   state
	since   time.Time     // when it fell asleep
	failure error         // of the last attempt to wake it
	trouble error         // of the last waking, see Trouble
	changed chan struct{} // closed at every change of state, limit and holds, and replaced
}

// New returns a Sleeper whose machine is awake. It falls asleep when nobody has asked anything for as long as limit; 0 means
// never. All ends with ctx; a machine that is asleep then stays so. A nil machine cannot be put to sleep.
func New(ctx context.Context, machine Machine, limit time.Duration, log *slog.Logger) *Sleeper {
	s := &Sleeper{ctx: ctx, machine: machine, log: log, changed: make(chan struct{})}
	s.idle.limit = limit
	s.idle.touch(time.Now())
	return s
}

// Run watches the time until ctx ends.
func (s *Sleeper) Run(ctx context.Context) {
	for ctx.Err() == nil {
		left, counts, changed := s.look()
		if counts && left <= 0 {
			s.freeze(ctx)
			continue
		}
		timer := time.NewTimer(left)
		if !counts {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// look says how long it is until the machine is to be frozen, if that is to be foreseen. A machine whose time has come is
// being frozen from then on: whoever asks something after that waits.
func (s *Sleeper) look() (left time.Duration, counts bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != awake || s.machine == nil {
		return 0, false, s.changed
	}
	left, counts = s.idle.left(time.Now())
	if counts && left <= 0 {
		s.become(freezing)
	}
	return left, counts, s.changed
}

func (s *Sleeper) freeze(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	frozen, err := s.machine.Freeze(limited)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("the machine cannot be paused", "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !frozen {
		s.idle.touch(time.Now()) // it is looked at again when as much time has passed
		s.become(awake)
		return
	}
	s.since = time.Now()
	s.log.Info("nobody asked anything, so the machine is paused", "for", s.idle.limit)
	s.become(asleep)
}

// Begin notes that somebody asks something, and returns once the machine is awake, which it wakes. Until end is called,
// which may be done more than once, it stays awake. The error is that of ctx, or says why the machine cannot be woken.
func (s *Sleeper) Begin(ctx context.Context) (end func(), err error) {
	end = s.Hold()
	if err := s.await(ctx, true); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// Hold keeps the machine awake until end is called, which may be done more than once. It wakes no machine.
func (s *Sleeper) Hold() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.hold()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.idle.release(time.Now())
		s.tell()
	})
}

// Touch notes that somebody is at work, and wakes no machine.
func (s *Sleeper) Touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.touch(time.Now())
}

// Awake returns once the machine is awake, and does nothing towards it. The error is that of ctx.
func (s *Sleeper) Awake(ctx context.Context) error { return s.await(ctx, false) }

// Asleep reports whether the machine is asleep: it was frozen here, and the next who asks something wakes it.
func (s *Sleeper) Asleep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == asleep || s.state == freezing
}

// Limit returns after how long the machine falls asleep; 0: never.
func (s *Sleeper) Limit() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idle.limit
}

// SetLimit changes after how long the machine falls asleep, from now on. With 0 it is let go: it is frozen no more, and one
// that is asleep is left so and not woken. The error is that of ctx.
func (s *Sleeper) SetLimit(ctx context.Context, limit time.Duration) error {
	for {
		s.mu.Lock()
		if s.state == awake || s.state == asleep {
			break
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer s.mu.Unlock()
	s.idle.limit = limit
	s.idle.touch(time.Now())
	s.trouble = nil // who changes the limit has seen to the machine
	if limit == 0 {
		s.state = awake
	}
	s.tell()
	return nil
}

// await returns once the machine is awake, and wakes it when it is asleep and wake says so.
func (s *Sleeper) await(ctx context.Context, wake bool) error {
	asked := false
	for {
		s.mu.Lock()
		switch {
		case s.state == awake:
			s.mu.Unlock()
			return nil
		case s.state == asleep && asked:
			err := s.failure
			s.mu.Unlock()
			return err
		case s.state == asleep && wake:
			s.become(waking)
			go s.wake()
		}
		asked = wake && s.state == waking
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Trouble is why the last request did not find the machine as it should: it could not be woken, or its clock could not be set. It is
// nil when all went well, and after SetLimit.
func (s *Sleeper) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// wake does not depend on whoever asked for it: others may wait too.
func (s *Sleeper) wake() {
	began := time.Now()
	err := s.machine.Thaw(s.ctx)
	if err == nil {
		s.settle()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.touch(time.Now())
	s.failure = err
	if err != nil {
		s.trouble = err
		s.log.Warn("the machine cannot be woken", "err", err)
		s.become(asleep)
		return
	}
	s.log.Info("a request came, so the machine is resumed", "slept", began.Sub(s.since), "took", time.Since(began))
	s.become(awake)
}

// settle returns once the machine's clock is right, or after settleLimit, and goes on with it then.
func (s *Sleeper) settle() {
	end := s.Hold()
	settled := make(chan struct{})
	go func() {
		defer end()
		defer close(settled)
		err := s.machine.Settle(s.ctx)
		if err != nil && s.ctx.Err() == nil {
			s.log.Warn("the clock of the machine could not be set after its pause", "err", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.trouble = err
	}()
	timer := time.NewTimer(settleLimit)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	}
}

// become changes the state. Like tell it needs the lock.
func (s *Sleeper) become(next state) {
	s.state = next
	s.tell()
}

// tell wakes all who wait for a change.
func (s *Sleeper) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}
