package build

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// normaliseBolt rewrites one of containerd's databases so that equal content has equal bytes: the times of creation and
// change become the epoch, buckets and keys are written in order into a fresh file. Leases go: they only guard content from
// the collector while it is being unpacked.
func normaliseBolt(path string) error {
	buckets, err := readBuckets(path)
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	fresh := path + ".new"
	db, err := bolt.Open(fresh, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	defer db.Close()
	// A transaction for each: one that holds several buckets gives them their pages in random order.
	for _, b := range buckets {
		if err := db.Update(b.write); err != nil {
			return fmt.Errorf("rewrite %q: %w", path, err)
		}
	}
	if err := errors.Join(db.Sync(), db.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// boltBucket is a bucket without the buckets in it.
type boltBucket struct {
	path     [][]byte
	sequence uint64
	pairs    [][2][]byte
}

// readBuckets returns the database's buckets as they are to be written, each after the one that it is in.
func readBuckets(path string) ([]boltBucket, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	stamp, err := epoch.MarshalBinary()
	if err != nil {
		return nil, err
	}
	var list []boltBucket
	var read func(path [][]byte, bucket *bolt.Bucket) error
	read = func(path [][]byte, bucket *bolt.Bucket) error {
		at := len(list)
		list = append(list, boltBucket{path: path, sequence: bucket.Sequence()})
		return bucket.ForEach(func(key, value []byte) error {
			switch {
			case value == nil && bytes.Equal(key, []byte("leases")):
			case value == nil:
				return read(append(slices.Clone(path), bytes.Clone(key)), bucket.Bucket(key))
			case bytes.Equal(key, []byte("createdat")), bytes.Equal(key, []byte("updatedat")):
				list[at].pairs = append(list[at].pairs, [2][]byte{bytes.Clone(key), stamp})
			default:
				list[at].pairs = append(list[at].pairs, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
			}
			return nil
		})
	}
	return list, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error { return read([][]byte{bytes.Clone(name)}, bucket) })
	})
}

// write puts the bucket into the database.
func (b boltBucket) write(tx *bolt.Tx) error {
	bucket, err := tx.CreateBucketIfNotExists(b.path[0])
	if err != nil {
		return err
	}
	for _, name := range b.path[1:] {
		if bucket, err = bucket.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if err := bucket.SetSequence(b.sequence); err != nil {
		return err
	}
	for _, pair := range b.pairs {
		if err := bucket.Put(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}
