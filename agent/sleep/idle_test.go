package sleep

import (
	"testing"
	"time"
)

func TestIdle(t *testing.T) {
	t.Parallel()
	at := func(minutes int) time.Time { return time.Unix(0, 0).Add(time.Duration(minutes) * time.Minute) }
	i := idle{limit: 30 * time.Minute}
	want := func(now, left int, counts bool) {
		t.Helper()
		got, ok := i.left(at(now))
		if ok != counts || ok && got != time.Duration(left)*time.Minute {
			t.Errorf("after %d minutes: got %s and %v, want %d minutes and %v", now, got, ok, left, counts)
		}
	}
	i.touch(at(0))
	want(0, 30, true)
	want(10, 20, true)
	i.touch(at(10))
	want(10, 30, true)
	want(41, -1, true)
	i.hold()
	i.hold()
	want(100, 0, false)
	i.release(at(110))
	want(200, 0, false)
	i.release(at(210)) // it counts from the end of an answer
	want(211, 29, true)
	i.limit = 0
	want(300, 0, false)
}

func TestMeter(t *testing.T) {
	t.Parallel()
	const client, guest = true, false
	type piece struct {
		from  bool
		after time.Duration // since the piece before
		bytes int
	}
	repeat := func(times int, pieces ...piece) (all []piece) {
		for range times {
			all = append(all, pieces...)
		}
		return all
	}
	for name, test := range map[string]struct {
		kind   Kind
		pieces []piece
		want   bool // one of the pieces counts
	}{
		"a request":                        {Beating, []piece{{client, 0, 120}}, true},
		"a watch of an hour":               {Beating, repeat(120, piece{client, 30 * time.Second, 39}, piece{guest, 0, 39}), false},
		"a watch with bookmarks":           {Beating, repeat(60, piece{client, 30 * time.Second, 39}, piece{client, 30 * time.Second, 39}, piece{guest, 0, 700}), false},
		"a watch that raises its windows":  {Beating, repeat(60, piece{client, 30 * time.Second, 39}, piece{client, 30 * time.Second, 48}), false},
		"exec without a word":              {Beating, repeat(12, piece{client, 5 * time.Second, 28}), true},
		"port-forward without a word":      {Beating, repeat(6, piece{client, 10 * time.Second, 40}), true},
		"any byte on a port like others":   {Plain, []piece{{client, 0, 1}}, true},
		"a guest that talks to itself":     {Plain, repeat(1000, piece{guest, 10 * time.Second, 1000}), false},
		"a download":                       {Beating, repeat(3, piece{guest, time.Second, 32 << 10}), true},
		"a download on a port like others": {Plain, repeat(3, piece{guest, time.Second, 32 << 10}), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, now, got := meter{kind: test.kind}, time.Unix(1000, 0), false
			for _, piece := range test.pieces {
				now = now.Add(piece.after)
				count := m.receive
				if piece.from == client {
					count = m.send
				}
				got = count(now, piece.bytes) || got
			}
			if got != test.want {
				t.Errorf("counts: got %v, want %v", got, test.want)
			}
		})
	}
}
