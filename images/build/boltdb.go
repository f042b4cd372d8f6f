package build

import (
	"bytes"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// normaliseBolt rewrites one of containerd's databases so that equal content has equal bytes: the times of creation and
// change become the epoch, keys are written in order into a fresh file. Leases go: they only guard content from the collector
// while it is being unpacked.
func normaliseBolt(path string) error {
	old, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: 10 * time.Second})
	if err != nil {
		return fmt.Errorf("open %q: %w", path, err)
	}
	defer old.Close()
	fresh := path + ".new"
	next, err := bolt.Open(fresh, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	defer next.Close()
	stamp, err := epoch.MarshalBinary()
	if err != nil {
		return err
	}
	err = old.View(func(from *bolt.Tx) error {
		return next.Update(func(to *bolt.Tx) error {
			return from.ForEach(func(name []byte, bucket *bolt.Bucket) error {
				made, err := to.CreateBucket(name)
				if err != nil {
					return err
				}
				return copyBucket(bucket, made, stamp)
			})
		})
	})
	if err != nil {
		return fmt.Errorf("rewrite %q: %w", path, err)
	}
	if err := next.Sync(); err != nil {
		return err
	}
	if err := next.Close(); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

func copyBucket(from, to *bolt.Bucket, stamp []byte) error {
	if err := to.SetSequence(from.Sequence()); err != nil {
		return err
	}
	return from.ForEach(func(key, value []byte) error {
		switch {
		case value == nil && bytes.Equal(key, []byte("leases")):
			return nil
		case value == nil:
			made, err := to.CreateBucket(key)
			if err != nil {
				return err
			}
			return copyBucket(from.Bucket(key), made, stamp)
		case bytes.Equal(key, []byte("createdat")), bytes.Equal(key, []byte("updatedat")):
			value = stamp
		}
		return to.Put(key, value)
	})
}
