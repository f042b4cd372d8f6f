package cluster

// Kind is what an Event says.
type Kind string

// The kinds of events. A step that begins ends with Done or Failed.
const (
	Began    Kind = "began"
	Progress Kind = "progress" // Text is what the step does now; Done of Total bytes when Total is not zero
	Waiting  Kind = "waiting"  // the step that runs waits, without progress; Text says for what, and why as far as known
	Ended    Kind = "ended"
	Failed   Kind = "failed"
	Undone   Kind = "undone" // a step of a failed run was rolled back
	Info     Kind = "info"
	Warning  Kind = "warning"
)

// StepLock is the Step of the events of a command that waits for another one to let go of the cluster.
const StepLock = "lock"

// Event is one thing that happened while a command worked. There is one stream of them for the terminal, for JSON and for
// the log.
type Event struct {
	Kind    Kind
	Profile string
	Step    string // stable ID of the step; empty outside of steps
	Index   int    // the step's place, from 1
	Steps   int    // how many steps the run has
	Text    string // one sentence without a full stop
	Done    int64  // bytes
	Total   int64  // bytes; 0 when the step does not count
	Err     error  // of Failed
}

// Sink takes events. It may be called from several goroutines at once.
type Sink func(Event)
