package sleep

import "time"

// idle is how long nobody has asked anything. It is a value that is told the time and knows no clock.
type idle struct {
	limit time.Duration // 0: any time is short enough
	last  time.Time     // when somebody asked last, or was answered
	held  int           // those who are being answered
}

// touch notes that somebody asked.
func (i *idle) touch(now time.Time) { i.last = now }

// hold notes that somebody begins to be answered, however long that takes.
func (i *idle) hold() { i.held++ }

// release ends a hold. Idleness begins then, not when the answer was asked for.
func (i *idle) release(now time.Time) {
	i.held--
	i.last = now
}

// left is the time until the limit is reached, not above zero when it is. It reports false when that is not to be foreseen:
// there is no limit, or somebody is being answered.
func (i *idle) left(now time.Time) (time.Duration, bool) {
	if i.limit == 0 || i.held > 0 {
		return 0, false
	}
	return i.limit - now.Sub(i.last), true
}
