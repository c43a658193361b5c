package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/digest"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

// row is what is kept of one uid. Its JSON form is stored: fields are only added.
type row struct {
	Version    feed.Version
	Generation int32
	Term       int32
	Kind       int32
	Deleted    bool
	Policy     flink.DeletePolicy
	Hash       []byte
	MAC        []byte
	Schema     int32

	Active   *active    // what is in force; nil: no good order ever came
	Rejected *rejection // why the newest row is not in force
	Removed  bool       // nothing of the job is left here; the row goes when the hub knows
}

// active is what the planner is told. The body of its order is in bodies, unless it never had one (an unknown job's tombstone).
type active struct {
	Generation int32
	Term       int32
	Deleted    bool
	Policy     flink.DeletePolicy
	HasBody    bool
}

type rejection struct{ Code, Class, Text string }

func (r row) digest(uid string) digest.Row {
	return digest.Row{UID: uid, EpochNumber: r.Version.EpochNumber, Revision: r.Version.Revision, Hash: r.Hash}
}

// Standing is what this agent says of its records when it greets the hub.
func (s *Store) Standing() feed.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()

	return feed.Standing{SiteUID: s.site, Cursor: s.cursor, MaxEpoch: s.maxEpoch, Root: s.tree.Root(), Count: s.live}
}

// Rejected is a nack for each row whose newest version is not in force, in no order.
func (s *Store) Rejected() []feed.Nack {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []feed.Nack
	for uid, r := range s.rows {
		if r.Rejected != nil {
			out = append(out, feed.Nack{UID: uid, Version: r.Version, Code: r.Rejected.Code, Class: r.Rejected.Class, Text: r.Rejected.Text})
		}
	}

	return out
}

// Record takes a frame: rows newer than what is recorded, then the cursor, in one transaction that is durable when it
// returns. Rows that are not newer are passed over. A row that cannot be used is recorded as rejected, comes back as a
// nack, and leaves the last good order in force. A frame of a smaller epoch number than the greatest ever seen is refused
// with feed.ErrFenced; an empty frame only says that its epoch was seen. On an error nothing was recorded.
func (s *Store) Record(ctx context.Context, f feed.Frame) (feed.Recorded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Epoch.Number < s.maxEpoch {
		return feed.Recorded{}, fmt.Errorf("frame of epoch %d after one of epoch %d: %w", f.Epoch.Number, s.maxEpoch, feed.ErrFenced)
	}
	var (
		out   feed.Recorded
		fresh = map[string]row{}
		body  = map[string][]byte{} // of rows in force
	)
	for _, in := range f.Rows {
		old, known := s.rows[in.UID]
		if r, twice := fresh[in.UID]; twice {
			old, known = r, true
		}
		if known && in.Version.Compare(old.Version) <= 0 {
			continue
		}
		r, nack := s.accept(old, in)
		fresh[in.UID] = r
		switch {
		case nack != nil:
			out.Nacks = append(out.Nacks, *nack)
		case !in.Deleted:
			body[in.UID] = in.Body
			fallthrough
		default:
			out.Changed = append(out.Changed, in.UID)
		}
	}
	cursor := s.advance(f.Cursor)
	if len(fresh) > 0 || cursor != s.cursor || f.Epoch.Number > s.maxEpoch {
		err := s.update(ctx, func(tx *bolt.Tx) error { return putFrame(tx, fresh, body, cursor, f.Epoch.Number) })
		if err != nil {
			return feed.Recorded{}, err
		}
	}
	for uid, r := range fresh {
		s.replace(uid, r)
	}
	s.cursor, s.maxEpoch = cursor, f.Epoch.Number
	out.Cursor = cursor

	return out, nil
}

// advance is the cursor after next: two streams overlap while a certificate is rotated, and the older may be behind.
func (s *Store) advance(next feed.Cursor) feed.Cursor {
	if next.IsZero() || next.EpochID == s.cursor.EpochID && next.Revision < s.cursor.Revision {
		return s.cursor
	}

	return next
}

// accept is the record after a newer row came. What it finds wrong with the row is the nack.
func (s *Store) accept(old row, in feed.Row) (row, *feed.Nack) {
	r := row{
		Version: in.Version, Generation: in.Generation, Term: in.Term, Kind: in.Kind, Deleted: in.Deleted,
		Policy: in.Policy, Hash: in.Hash, MAC: in.MAC, Schema: in.Schema,
		Active: old.Active,
	}
	if code, err := s.examine(in); err != nil {
		r.Rejected = &rejection{Code: code, Class: feed.ClassPermanent, Text: err.Error()}
		r.Removed = old.Removed

		return r, &feed.Nack{UID: in.UID, Version: in.Version, Code: code, Class: feed.ClassPermanent, Text: err.Error()}
	}
	r.Active = &active{Generation: in.Generation, Term: in.Term, HasBody: true}
	if in.Deleted {
		r.Active.Deleted, r.Active.Policy = true, in.Policy
		r.Active.HasBody = old.Active != nil && old.Active.HasBody
		// The same tombstone again, as after a fork of history, does not bring back a job that is gone.
		r.Removed = old.Removed && old.Term == in.Term
	}

	return r, nil
}

// examine says whether a row can be in force, and if not, under which code.
func (s *Store) examine(in feed.Row) (code string, err error) {
	switch {
	case in.Kind != feed.KindJob:
		return feed.CodeUnsupported, fmt.Errorf("row kind %d is not known to this agent", in.Kind)
	case in.Deleted:
		return "", nil
	case in.Schema != feed.SchemaOrder:
		return feed.CodeUnsupported, fmt.Errorf("order schema %d is not known to this agent", in.Schema)
	}
	if sum := sha256.Sum256(in.Body); !bytes.Equal(sum[:], in.Hash) {
		return feed.CodeCorrupt, errors.New("body does not match its hash")
	}
	o, err := s.decode(in.Body)
	switch {
	case errors.Is(err, wire.ErrUnknown):
		return feed.CodeUnsupported, err
	case err != nil:
		return feed.CodeInvalid, err
	case o.UID != in.UID || o.Term != in.Term || o.Generation != in.Generation:
		return feed.CodeCorrupt, fmt.Errorf("body speaks of %s term %d generation %d, its row of %s term %d generation %d",
			o.UID, o.Term, o.Generation, in.UID, in.Term, in.Generation)
	}

	return "", nil
}

func putFrame(tx *bolt.Tx, rows map[string]row, bodies map[string][]byte, cursor feed.Cursor, epoch int64) error {
	for uid, r := range rows {
		if err := put(tx.Bucket(bucketRows), []byte(uid), marshal(r)); err != nil {
			return err
		}
	}
	for uid, b := range bodies {
		if err := put(tx.Bucket(bucketBodies), []byte(uid), b); err != nil {
			return err
		}
	}
	if err := put(tx.Bucket(bucketMeta), keyCursor, marshal(cursor)); err != nil {
		return err
	}

	return put(tx.Bucket(bucketMeta), keyMaxEpoch, marshal(epoch))
}

// replace changes the view in memory. The caller holds mu.
func (s *Store) replace(uid string, r row) {
	if old, ok := s.rows[uid]; ok && !old.Deleted {
		s.tree.Remove(old.digest(uid))
		s.live--
	}
	if !r.Deleted {
		s.tree.Add(r.digest(uid))
		s.live++
	}
	s.rows[uid] = r
}
