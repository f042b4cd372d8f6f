package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// useSpare makes a warm spare the cluster that is started. What is the spare's own and goes on to be so are its address, which
// its certificates are for, and its keys; all else is as it was wanted.
func (s *start) useSpare(one *kept) {
	s.spare = one
	s.config.Address, s.config.Provisioned = one.config.Address, true
}

// take is the step that makes a warm spare the cluster. When that fails, the cluster is made as without one.
func (s *start) take() Step {
	create := s.create()
	return Step{
		ID: "spare", Text: "Take warm spare " + s.spare.name + " for machine " + s.config.Profile,
		Why: fmt.Sprintf("there is no cluster %s, and one like it was saved when it was ready, %s ago", s.config.Profile, sinceWords(time.Since(s.spare.note.Created))),
		Do: func(ctx context.Context, report Report) error {
			err := s.adopt(ctx)
			if err == nil {
				_ = s.spares().forgetLock(s.spare.name)
			}
			if err == nil || ctx.Err() != nil {
				return err
			}
			if err := s.giveUp(ctx, err); err != nil {
				return err
			}
			return create.Do(ctx, report)
		},
		Undo: func(ctx context.Context) error {
			if _, err := os.Lstat(s.files.File()); errors.Is(err, fs.ErrNotExist) {
				return nil // the spare is still one, or the next command removes it
			}
			return create.Undo(ctx)
		},
	}
}

// adopt gives the folder of a warm spare the place of the cluster's. Until the folder has its new name there is no cluster;
// a spare that was cut off before that is none any more, and the next command removes it.
func (s *start) adopt(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from := s.Home.Spares().Cluster(s.spare.name)
	logs, err := onlyLogs(s.files)
	if err != nil {
		return err
	}
	// The spare has two names for a moment, so nobody is to look for a free address.
	release, err := store.Wait(s.Home.AddressLock())
	if err != nil {
		return store.NoSpace("take a warm spare", err)
	}
	defer release()
	if err := os.Remove(from.Spare()); err != nil {
		return err
	}
	s.config.Skiff = s.Version
	content, err := s.config.Marshal()
	if err != nil {
		return err
	}
	if err := store.Write(from.File(), content, 0o600); err != nil {
		return err
	}
	target := s.target(s.config)
	target.Files.Dir = from.Dir
	if err := s.Kubernetes.Prepare(ctx, target); err != nil { // the kubeconfig has the cluster's name
		return err
	}
	// The log of this start's events lies in the folder of logs already.
	if err := store.Folder(from.Logs()); err != nil {
		return err
	}
	for _, name := range logs {
		if err := os.Rename(filepath.Join(s.files.Logs(), name), filepath.Join(from.Logs(), name)); err != nil {
			return err
		}
	}
	if err := os.Remove(s.files.Logs()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return store.Move(from.Dir, s.files.Dir)
}

// onlyLogs returns the names of the logs that a cluster has which does not exist: a creation that failed leaves them. It
// fails when there is anything else in its folder.
func onlyLogs(files store.Cluster) ([]string, error) {
	entries, err := os.ReadDir(files.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if filepath.Join(files.Dir, entry.Name()) != files.Logs() {
			return nil, fmt.Errorf("there is %s in the cluster's folder already", entry.Name())
		}
	}
	entries, err = os.ReadDir(files.Logs())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

// giveUp throws away a warm spare that is of no use, and says so. Then there is a cluster without a machine, or none.
func (s *start) giveUp(ctx context.Context, cause error) error {
	one := s.spare
	s.warn("spare", "warm spare %s cannot be used (%s), so cluster %s is created from the start", one.name, oneLine(cause), s.config.Profile)
	s.spare = nil
	s.config.Provisioned = false
	if _, err := os.Lstat(s.files.File()); errors.Is(err, fs.ErrNotExist) {
		s.config.Address = netip.Addr{}
		_ = s.spares().discard(ctx, one.name) // the next command does it again
		return nil
	}
	// From here on a start that is cut off makes the cluster anew.
	if err := s.save(s.config); err != nil {
		return err
	}
	vm, err := s.part(s.config)
	if err == nil {
		err = vm.Delete(ctx)
	}
	if err != nil {
		return wrap(fail.MachineFailed, err, "delete the machine of cluster %s", s.config.Profile)
	}
	s.vm = nil
	return errors.Join(os.RemoveAll(s.files.PKI()), os.RemoveAll(s.files.Node(node).Dir))
}

// anew makes the cluster as without a warm spare, when the one that was taken is of no use.
func (s *start) anew(ctx context.Context, report Report, cause error) error {
	if err := s.giveUp(ctx, cause); err != nil {
		return err
	}
	report("creating it from the start", 0, 0)
	if err := s.create().Do(ctx, report); err != nil {
		return err
	}
	return s.bootAgain(ctx, report)
}

// sinceWords is how long ago something was, as people say it.
func sinceWords(d time.Duration) string {
	count := func(n time.Duration, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d < 2*time.Minute:
		return "a minute"
	case d < time.Hour:
		return count(d/time.Minute, "minute")
	case d < 48*time.Hour:
		return count(d/time.Hour, "hour")
	}
	return count(d/(24*time.Hour), "day")
}
