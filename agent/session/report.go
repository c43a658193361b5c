package session

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// urgency is how soon the hub is told a status.
type urgency int

const (
	refresh urgency = iota // only its time is new
	changed                // something in it is
	atOnce                 // its state is
)

// Report takes the latest status of a job. The hub is told when there is a stream: at once when the state changed, soon
// otherwise; statuses in between are left out. One that the hub must not miss is on disk when Report returns, and an
// error means that it is not: call again. It may be called from any goroutine.
func (c *Client) Report(ctx context.Context, uid string, st flink.Status) error {
	c.mu.Lock()
	prev, known := c.latest[uid]
	c.mu.Unlock()
	durable := st.Durable(prev)
	if durable {
		if _, err := c.cfg.Store.PutReport(ctx, uid, st); err != nil {
			return fmt.Errorf("report %s: %w", uid, err)
		}
	}
	c.mu.Lock()
	c.latest[uid] = st
	if !durable {
		u := refresh
		switch {
		case !known || prev.State != st.State || prev.Situation != st.Situation:
			u = atOnce
		case !prev.Equal(st):
			u = changed
		}
		c.dirty[uid] = max(c.dirty[uid], u)
	}
	c.mu.Unlock()
	c.look()

	return nil
}

// forget drops what is kept in memory about jobs that are gone.
func (c *Client) forget(uids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uid := range uids {
		delete(c.latest, uid)
		delete(c.dirty, uid)
	}
}

// dueAt is when the next report is due if the last one went out at last; zero: none.
func (c *Client) dueAt(last time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.dirty) == 0 {
		return time.Time{}
	}
	switch slices.Max(slices.Collect(maps.Values(c.dirty))) {
	case atOnce:
		return last
	case changed:
		return last.Add(reportGap)
	default:
		return last.Add(refreshGap)
	}
}

// takeDirty is the statuses that the hub was not told, oldest need first, at most reportRows of them. They count as told.
func (c *Client) takeDirty(now, last time.Time) []feed.Report {
	if due := c.dueAt(last); due.IsZero() || now.Before(due) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	uids := slices.SortedFunc(maps.Keys(c.dirty), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.dirty[b], c.dirty[a]), cmp.Compare(a, b))
	})
	out := make([]feed.Report, 0, min(len(uids), reportRows))
	for _, uid := range uids[:min(len(uids), reportRows)] {
		delete(c.dirty, uid)
		if st, ok := c.latest[uid]; ok { // else forgotten meanwhile
			out = append(out, feed.Report{UID: uid, Term: st.Term, Status: st})
		}
	}

	return out
}

// putBack makes statuses dirty again that did not fit a frame.
func (c *Client) putBack(rest []feed.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rest {
		c.dirty[r.UID] = atOnce
	}
}

// outbox is what a stream knows of the reports it sent. The sender owns it, but for what mu guards.
type outbox struct {
	seq   int64
	last  time.Time         // of the last report
	sent  map[string]uint64 // uid → id of the durable report sent in this stream
	facts bool              // it is time to look at the facts
	told  Facts
	first bool // the facts were not told in this stream yet

	mu     *sync.Mutex // guards flight
	flight []sentFrame // durable frames without an ack, oldest first
}

type sentFrame struct {
	seq     int64
	reports []feed.Report
}

// newOutbox begins a stream: the hub is told everything again.
func newOutbox(c *Client) outbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	for uid := range c.latest {
		c.dirty[uid] = atOnce
	}

	return outbox{
		sent: map[string]uint64{}, facts: true, first: true, mu: new(sync.Mutex),
		last: time.Now().Add(-refreshGap), // the first report waits for nothing
	}
}

// acked is the reports that an ack up to seq settles.
func (o *outbox) acked(seq int64) []feed.Report {
	o.mu.Lock()
	defer o.mu.Unlock()
	var done []feed.Report
	for len(o.flight) > 0 && o.flight[0].seq <= seq {
		done = append(done, o.flight[0].reports...)
		o.flight = o.flight[1:]
	}

	return done
}

// report sends one frame of what is due: first what the hub must have on disk, so that nothing older overtakes it.
func (s *stream) report(now time.Time) (sent bool, err error) {
	o := &s.out
	if o.facts {
		o.facts = false
		if done, err := s.reportFacts(); err != nil || done {
			return done, err
		}
	}
	durable := s.unsent()
	rows := durable
	if len(rows) == 0 {
		if rows = s.c.takeDirty(now, o.last); len(rows) == 0 {
			return false, nil
		}
	}
	var statuses []*agentv1.JobReport
	size := 0
	for _, r := range rows[:min(len(rows), reportRows)] {
		p := agentv1.JobReport_builder{Uid: r.UID, Term: r.Term, Status: s.c.cfg.Encode(r.Status)}.Build()
		if size += proto.Size(p); size > reportBytes && len(statuses) > 0 {
			break
		}
		statuses = append(statuses, p)
	}
	frame := agentv1.Report_builder{Statuses: statuses, Durable: len(durable) > 0}.Build()
	if frame.GetDurable() {
		s.fly(rows[:len(statuses)])
	} else {
		s.c.putBack(rows[len(statuses):])
	}
	o.last = now

	return true, s.sendReport(frame)
}

// unsent is the durable reports that this stream has not sent.
func (s *stream) unsent() []feed.Report {
	return slices.DeleteFunc(s.c.cfg.Store.Reports(), func(r feed.Report) bool { return s.out.sent[r.UID] == r.ID })
}

// fly notes a durable frame before it is sent: its ack may come at any time afterwards.
func (s *stream) fly(rows []feed.Report) {
	for _, r := range rows {
		s.out.sent[r.UID] = r.ID
	}
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.out.flight = append(s.out.flight, sentFrame{seq: s.out.seq + 1, reports: slices.Clone(rows)})
}

// reportFacts says what changed about the place since it was last said.
func (s *stream) reportFacts() (sent bool, err error) {
	if s.c.cfg.Facts == nil {
		return false, nil
	}
	facts := s.c.cfg.Facts()
	if !s.out.first && facts.equal(s.out.told) {
		return false, nil
	}
	s.out.first, s.out.told = false, facts

	place := agentv1.ClusterReport_builder{
		MemoryTotal: facts.MemoryTotal, MemoryUsed: facts.MemoryUsed, FlinkVersions: facts.FlinkVersions,
	}.Build()

	return true, s.sendReport(agentv1.Report_builder{Cluster: place}.Build())
}

func (s *stream) sendReport(frame *agentv1.Report) error {
	s.out.seq++
	frame.SetSeq(s.out.seq)

	return s.send(agentv1.SyncRequest_builder{Report: frame}.Build())
}
