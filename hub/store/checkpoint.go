package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	checkpointEvery = 5 * time.Second
	expireEvery     = 24 * time.Hour
	moveRecords     = 500
	moveBytes       = 4 << 20
)

var errEnough = errors.New("enough")

// checkpoints moves the log over to the rows, every few seconds or when the log is long.
func (s *Store) checkpoints(ctx context.Context) error {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-expire.C:
			if err := s.rows.expire(time.Now()); err != nil {
				return fmt.Errorf("drop old stubs: %w", err)
			}
			continue
		case <-tick.C:
		case <-s.full:
		}
		if err := s.checkpoint(ctx); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
}

// checkpoint moves every record that rows.db does not have yet, then drops them from the log. It takes the rows from the
// log and not from memory: they are encoded already, and so it also finds what memory never held.
func (s *Store) checkpoint(ctx context.Context) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	if s.View().Head() == s.rows.head || s.roomLeft() != nil {
		return nil // with the disk full the log stays; nothing is lost, and the next checkpoint makes up for it
	}
	start := time.Now()
	s.logged.Store(0)
	for ctx.Err() == nil {
		records, err := s.unmoved(ctx)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			break
		}
		s.step("checkpoint read")
		if err := s.rows.move(records); err != nil {
			return err
		}
		s.step("checkpoint moved")
	}
	if err := s.log.Trim(ctx, s.rows.head); err != nil && ctx.Err() == nil {
		return fmt.Errorf("trim the log: %w", err)
	}
	s.step("checkpoint trimmed")
	s.metrics.checkpoint.Observe(time.Since(start).Seconds())
	return nil
}

func (s *Store) unmoved(ctx context.Context) (records []Record, err error) {
	size := 0
	err = s.log.Load(ctx, s.rows.head, func(r Record) error {
		records = append(records, r)
		for _, row := range r.Rows {
			size += len(row.Header) + len(row.Body)
		}
		if len(records) >= moveRecords || size >= moveBytes {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		err = nil
	}
	return records, err
}
