package agent

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"

	"github.com/skiff-k8s/skiff/fail"
)

// readyVariable names the file descriptor on which an agent tells the process that spawned it how its start went. A pipe
// rather than a file: it ends by itself when the agent dies.
const readyVariable = "SKIFF_AGENT_READY_FD"

// report is the one line on that pipe.
type report struct {
	Ready bool    `json:"ready"`
	ID    fail.ID `json:"id,omitempty"`
	Op    string  `json:"op,omitempty"`
	Err   string  `json:"err,omitempty"`
	Hint  string  `json:"hint,omitempty"`
	Next  string  `json:"next,omitempty"`
	Busy  bool    `json:"busy,omitempty"` // the failure was ErrRunning
}

// pipe is the agent's end; nil when nobody waits.
type pipe struct{ file *os.File }

func readyPipe() *pipe {
	number, err := strconv.Atoi(os.Getenv(readyVariable))
	if err != nil || number <= 2 {
		return nil
	}
	_ = os.Unsetenv(readyVariable) // the number means something else to every other process
	syscall.CloseOnExec(number)
	return &pipe{os.NewFile(uintptr(number), "ready")}
}

func (p *pipe) succeeded() { p.send(report{Ready: true}) }

// failed tells why the agent ended, if it has not told yet that it is ready.
func (p *pipe) failed(err error) {
	if err == nil {
		err = errors.New("it was asked to end")
	}
	message := report{Err: err.Error(), Busy: errors.Is(err, ErrRunning)}
	if known, ok := errors.AsType[*fail.Error](err); ok {
		message.ID, message.Op, message.Hint, message.Next = known.ID, known.Op, known.Hint, known.Next
		if message.Err = ""; known.Err != nil {
			message.Err = known.Err.Error()
		}
	}
	p.send(message)
}

func (p *pipe) send(message report) {
	if p == nil || p.file == nil {
		return
	}
	_ = json.NewEncoder(p.file).Encode(message) // whoever waited may have gone
	_ = p.file.Close()
	p.file = nil
}

// receive reads the agent's report; io.EOF when it died without one.
func receive(from io.Reader) (report, error) {
	var message report
	err := json.NewDecoder(from).Decode(&message)
	return message, err
}

// failure is the error that the report tells of.
func (r report) failure() error {
	failure := &fail.Error{ID: r.ID, Op: r.Op, Hint: r.Hint, Next: r.Next}
	if r.ID == "" {
		failure.ID, failure.Op = fail.AgentFailed, "start the agent"
	}
	if r.Err != "" {
		failure.Err = errors.New(r.Err)
	}
	if r.Busy {
		failure.Err = ErrRunning
	}
	return failure
}
