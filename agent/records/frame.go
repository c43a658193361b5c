package records

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

// Standing is what this agent says of its records when it greets the hub.
func (s *Store) Standing() feed.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()

	return feed.Standing{
		SiteUID: s.backend.Site(), Cursor: s.mark.Cursor, MaxEpoch: s.mark.MaxEpoch, Root: s.tree.Root(), Count: s.live,
	}
}

// Rejected is a nack for each row whose newest version is not in force, in no order.
func (s *Store) Rejected() []feed.Nack {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []feed.Nack
	for uid, j := range s.jobs {
		if j.Row != nil && j.Row.Rejected != nil {
			out = append(out, j.Row.nack(uid))
		}
	}

	return out
}

// Record takes a frame: rows newer than what is recorded, then the cursor; all of it is on record when it returns. Rows
// that are not newer are passed over. A row that cannot be used is recorded as rejected, comes back as a nack, and leaves
// the last good order in force. A frame of a smaller epoch number than the greatest ever seen is refused with
// feed.ErrFenced; an empty frame only says that its epoch was seen. After an error the cursor is not on record.
func (s *Store) Record(ctx context.Context, f feed.Frame) (feed.Recorded, error) {
	s.frames.Lock()
	defer s.frames.Unlock()
	uids := make([]string, len(f.Rows))
	for i, r := range f.Rows {
		uids[i] = r.UID
	}
	done, err := s.begin(ctx, uids...)
	if err != nil {
		return feed.Recorded{}, err
	}
	defer done()
	s.mu.Lock()
	mark := s.mark
	s.mu.Unlock()
	if f.Epoch.Number < mark.MaxEpoch {
		return feed.Recorded{}, fmt.Errorf("frame of epoch %d after one of epoch %d: %w", f.Epoch.Number, mark.MaxEpoch, feed.ErrFenced)
	}
	c, out := s.sift(f.Rows)
	next := Mark{Cursor: advance(mark.Cursor, f.Cursor), MaxEpoch: f.Epoch.Number}
	if len(c.Edits) > 0 || next != mark {
		c.Mark = &next
		if err := s.commit(ctx, c); err != nil {
			return feed.Recorded{}, err
		}
	}
	out.Cursor = next.Cursor

	return out, nil
}

// sift is what the rows of a frame change.
func (s *Store) sift(rows []feed.Row) (Change, feed.Recorded) {
	var (
		c   Change
		out feed.Recorded
		at  = map[string]int{} // place of a uid among the edits
	)
	for _, in := range rows {
		old := s.job(in.UID)
		i, twice := at[in.UID]
		if twice {
			old = c.Edits[i].New
		}
		if old.Row != nil && in.Version.Compare(old.Row.Version) <= 0 {
			continue
		}
		r, nack := s.accept(old.Row, in)
		j := old
		j.Row = &r
		switch {
		case nack != nil:
			out.Nacks = append(out.Nacks, *nack)
		case !in.Deleted:
			j.Body = in.Body
			fallthrough
		default:
			out.Changed = append(out.Changed, in.UID)
		}
		if twice {
			c.Edits[i].New = j

			continue
		}
		at[in.UID] = len(c.Edits)
		c.Edits = append(c.Edits, Edit{UID: in.UID, Old: old, New: j})
	}

	return c, out
}

// advance is the cursor after next: two streams overlap while a certificate is rotated, and the older may be behind.
func advance(now, next feed.Cursor) feed.Cursor {
	if next.IsZero() || next.EpochID == now.EpochID && next.Revision < now.Revision {
		return now
	}

	return next
}

// accept is the record after a newer row came. What it finds wrong with the row is the nack.
func (s *Store) accept(old *Row, in feed.Row) (Row, *feed.Nack) {
	if old == nil {
		old = &Row{}
	}
	r := Row{
		Version: in.Version, Generation: in.Generation, Term: in.Term, Kind: in.Kind, Deleted: in.Deleted,
		Policy: in.Policy, Hash: in.Hash, MAC: in.MAC, Schema: in.Schema,
		Active: old.Active,
	}
	if code, err := s.examine(in); err != nil {
		r.Rejected = &Rejection{Code: code, Class: feed.ClassPermanent, Text: err.Error()}
		r.Removed = old.Removed

		return r, new(r.nack(in.UID))
	}
	r.Active = &Active{Generation: in.Generation, Term: in.Term, HasBody: true}
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
	o, err := s.o.Decode(in.Body)
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
