package stream

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// raw is an agent that does what the test says, wrong things too.
type raw struct {
	t      *testing.T
	rpc    grpc.BidiStreamingClient[agentv1.SyncRequest, agentv1.SyncResponse]
	cancel func()
}

func (w *world) raw(cluster string) *raw {
	w.t.Helper()
	conn, err := grpc.NewClient("passthrough:///hub", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(w.net.dial(cluster, func() *wires { return w.listener })),
		grpc.WithStaticStreamWindowSize(feed.StreamWindow), grpc.WithStaticConnWindowSize(feed.ConnWindow))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	rpc, err := agentv1.NewSyncServiceClient(conn).Sync(ctx)
	if err != nil {
		w.t.Fatal(err)
	}

	return &raw{t: w.t, rpc: rpc, cancel: func() {
		cancel()
		_ = conn.Close()
	}}
}

func (r *raw) send(m agentv1.SyncRequest_builder) {
	r.t.Helper()
	if err := r.rpc.Send(m.Build()); err != nil {
		r.t.Fatalf("send: %v", err)
	}
}

func hello(instance string, change ...func(*agentv1.Hello)) agentv1.SyncRequest_builder {
	h := agentv1.Hello_builder{Version: feed.ProtocolVersion, SiteUid: "site", InstanceId: instance, AgentVersion: "raw"}.Build()
	for _, c := range change {
		c(h)
	}

	return agentv1.SyncRequest_builder{Hello: h}
}

func (r *raw) recv() *agentv1.SyncResponse {
	r.t.Helper()
	m, err := r.rpc.Recv()
	if err != nil {
		r.t.Fatalf("recv: %v", err)
	}

	return m
}

func (r *raw) welcome(instance string) {
	r.t.Helper()
	r.send(hello(instance))
	if m := r.recv(); m.GetWelcome().GetMode() != agentv1.Mode_MODE_RESUME {
		r.t.Fatalf("answer to Hello = %v", m)
	}
}

// ended reads until the stream ends and checks how.
func (r *raw) ended(code codes.Code, reason agentv1.RefusalReason) *status.Status {
	r.t.Helper()
	for {
		_, err := r.rpc.Recv()
		if err == nil {
			continue
		}
		st := status.Convert(err)
		var got agentv1.RefusalReason
		for _, d := range st.Details() {
			if ref, ok := d.(*agentv1.Refusal); ok {
				got = ref.GetReason()
			}
		}
		if st.Code() != code || got != reason {
			r.t.Errorf("stream ended with %v %s, want %v %s", err, got, code, reason)
		}

		return st
	}
}

const (
	none       = agentv1.RefusalReason_REFUSAL_REASON_UNSPECIFIED
	badFrame   = agentv1.RefusalReason_REFUSAL_REASON_BAD_FRAME
	cloned     = agentv1.RefusalReason_REFUSAL_REASON_CLONE
	superseded = agentv1.RefusalReason_REFUSAL_REASON_SUPERSEDED
	comparison = agentv1.RefusalReason_REFUSAL_REASON_COMPARE_UNSUPPORTED
)

func TestFramesThatBreakTheProtocolEndTheStream(t *testing.T) {
	type frame = agentv1.SyncRequest_builder
	welcomed := hello("i")
	for name, c := range map[string]struct {
		frames []frame
		code   codes.Code
		reason agentv1.RefusalReason
	}{
		"no Hello first":      {[]frame{{Tick: &agentv1.Tick{}}}, codes.InvalidArgument, badFrame},
		"empty frame":         {[]frame{{}}, codes.InvalidArgument, badFrame},
		"second Hello":        {[]frame{welcomed, welcomed}, codes.InvalidArgument, badFrame},
		"Hello without site":  {[]frame{hello("i", func(h *agentv1.Hello) { h.SetSiteUid("") })}, codes.InvalidArgument, badFrame},
		"other major version": {[]frame{hello("i", func(h *agentv1.Hello) { h.SetVersion(2000) })}, codes.Unimplemented, none},
		"ack beyond what was sent": {[]frame{welcomed, {Ack: agentv1.Ack_builder{
			Cursor: agentv1.Cursor_builder{EpochId: "x", Revision: 999}.Build(),
		}.Build()}}, codes.InvalidArgument, badFrame},
		"report that goes back": {[]frame{
			welcomed, {Report: agentv1.Report_builder{Seq: 2}.Build()}, {Report: agentv1.Report_builder{Seq: 2}.Build()},
		}, codes.InvalidArgument, badFrame},
		"report of too many": {[]frame{welcomed, {Report: agentv1.Report_builder{
			Seq: 1, Statuses: make([]*agentv1.JobReport, 501),
		}.Build()}}, codes.InvalidArgument, badFrame},
		"oversize":       {[]frame{welcomed, {Tick: agentv1.Tick_builder{Root: make([]byte, feed.MaxMessage)}.Build()}}, codes.ResourceExhausted, none},
		"buckets":        {[]frame{welcomed, {Buckets: &agentv1.Buckets{}}}, codes.Unimplemented, comparison},
		"list":           {[]frame{welcomed, {List: &agentv1.List{}}}, codes.Unimplemented, comparison},
		"lease asked":    {[]frame{welcomed, {Tick: agentv1.Tick_builder{LeaseAsks: []*agentv1.LeaseAsk{{}}}.Build()}}, codes.Unimplemented, none},
		"nothing at all": {nil, codes.InvalidArgument, badFrame},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := begin(t, "eu-1")
				defer w.end()
				r := w.raw("eu-1")
				defer r.cancel()
				for _, f := range c.frames {
					r.send(f)
				}
				r.ended(c.code, c.reason)
				settle()
				if w.server.Live("eu-1").Up || w.counter("waterwheel_hub_sessions") != 0 {
					t.Error("the session outlives its stream")
				}
			})
		})
	}
}

func TestWhoMayNotSpeakIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		w.write(func(tx *store.Txn) {
			tx.PutCluster(store.Cluster{UID: "old", Name: "old", State: store.ClusterRemoved})
		})
		for _, cluster := range []string{"unknown", "old"} {
			r := w.raw(cluster)
			r.send(hello("i"))
			r.ended(codes.PermissionDenied, agentv1.RefusalReason_REFUSAL_REASON_BANNED)
			r.cancel()
		}
	})
}

func TestANewerSessionEndsTheOlderOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		first, second := w.raw("eu-1"), w.raw("eu-1")
		defer first.cancel()
		defer second.cancel()
		first.welcome("one")
		second.welcome("two")
		first.ended(codes.PermissionDenied, superseded)
		settle()
		if l := w.server.Live("eu-1"); !l.Up || l.Resumes != 2 || w.counter("waterwheel_hub_sessions") != 1 {
			t.Errorf("live = %+v", l)
		}
	})
}

func TestAnIdentityAtAnotherSiteIsAClone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		first, other := w.raw("eu-1"), w.raw("eu-1")
		defer first.cancel()
		defer other.cancel()
		first.welcome("one")
		other.send(hello("two", func(h *agentv1.Hello) { h.SetSiteUid("elsewhere") }))
		other.ended(codes.FailedPrecondition, cloned)
		settle()
		if l := w.server.Live("eu-1"); !l.Up || !l.Flagged || !strings.Contains(l.Message, "elsewhere") {
			t.Errorf("live = %+v, want the first session up and the clone flagged", l)
		}
	})
}

func TestTwoInstancesThatSupersedeEachOtherAreFlaggedAndRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		var last *raw
		for i := range 4 {
			last = w.raw("eu-1")
			defer last.cancel()
			last.welcome([]string{"one", "two"}[i%2])
		}
		tooMany := w.raw("eu-1")
		defer tooMany.cancel()
		tooMany.send(hello("one"))
		tooMany.ended(codes.FailedPrecondition, cloned)
		settle()
		if l := w.server.Live("eu-1"); !l.Up || !l.Flagged {
			t.Errorf("live = %+v", l)
		}
		time.Sleep(6 * time.Minute) // the last one says nothing all the while, and is ended as silent
		again := w.raw("eu-1")
		defer again.cancel()
		again.welcome("one")
	})
}

func TestRecordsThatMustBeComparedAreRefusedWithTheReasonAndTheJobsRunOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		w.order("eu-1", uid(0), 1, 1)
		settle()
		a.stop()
		w.stopHub()
		w.dir = t.TempDir() // another history, as after a restore from an old backup
		w.startHub(true)
		w.write(func(tx *store.Txn) {
			tx.PutCluster(store.Cluster{UID: "eu-1", Name: "eu-1", State: store.ClusterJoined})
		})
		a.start()
		time.Sleep(10 * time.Minute)
		if st := a.client.State(); st.Reason != "COMPARE_UNSUPPORTED" || st.Attempts > 25 {
			t.Errorf("state = %+v, want few tries", st)
		}
		if l := w.server.Live("eu-1"); l.Up || !l.Flagged || !strings.Contains(l.Message, "compared") {
			t.Errorf("live = %+v", l)
		}
		if a.generation(uid(0)) != 1 {
			t.Error("a hub without the row took the order away")
		}
		if got := w.store.View().Epoch().Number; got < a.disk.Standing().MaxEpoch {
			t.Errorf("the hub stayed at epoch %d", got)
		}
	})
}

func TestAnAgentOfALaterEpochMakesTheHubBeginALaterOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1", "eu-2")
		defer w.end()
		b := w.start("eu-2")
		settle()
		number := w.store.View().Epoch().Number
		r := w.raw("eu-1")
		defer r.cancel()
		r.send(hello("i", func(h *agentv1.Hello) { h.SetMaxEpochNumber(number + 10) }))
		if got := r.recv().GetWelcome().GetEpoch().GetNumber(); got <= number+10 {
			t.Errorf("welcomed in epoch %d, want one after %d", got, number+10)
		}
		far := w.raw("eu-1")
		defer far.cancel()
		far.send(hello("i", func(h *agentv1.Hello) { h.SetMaxEpochNumber(number + 1_000_000) }))
		far.ended(codes.FailedPrecondition, agentv1.RefusalReason_REFUSAL_REASON_EPOCH_AHEAD)
		// A session that began in the earlier epoch goes on in the later one.
		w.order("eu-2", uid(0), 1, 1)
		settle()
		w.same(b)
		if c := b.disk.Standing().Cursor; c.EpochID != w.store.View().Epoch().ID {
			t.Errorf("cursor = %+v", c)
		}
	})
}

func TestAStreamEndsWithItsCertificateAtABanAndAtADrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1", "eu-2", "eu-3")
		defer w.end()
		w.notAfter["eu-1"] = time.Now().Add(time.Hour)
		expiring, banned := w.raw("eu-1"), w.raw("eu-2")
		defer expiring.cancel()
		defer banned.cancel()
		banned.welcome("i")
		at := time.Now()
		w.write(func(tx *store.Txn) {
			c, _ := tx.Cluster("eu-2")
			c.Banned = true
			tx.PutCluster(c)
		})
		banned.ended(codes.PermissionDenied, agentv1.RefusalReason_REFUSAL_REASON_BANNED)
		if d := time.Since(at); d > time.Second {
			t.Errorf("the ban took %s", d)
		}
		expiring.welcome("i")
		stop := expiring.ticking()
		expiring.ended(codes.Unauthenticated, agentv1.RefusalReason_REFUSAL_REASON_EXPIRED)
		stop()
		if now := time.Now(); now.Before(w.notAfter["eu-1"]) || now.After(w.notAfter["eu-1"].Add(time.Second)) {
			t.Errorf("ended at %s, the certificate at %s", now, w.notAfter["eu-1"])
		}
		drained := w.raw("eu-3")
		defer drained.cancel()
		drained.welcome("i")
		w.server.Drain()
		st := drained.ended(codes.Unavailable, agentv1.RefusalReason_REFUSAL_REASON_DRAIN)
		if ref, ok := st.Details()[0].(*agentv1.Refusal); !ok || ref.GetRetryAfterMs() == 0 {
			t.Errorf("details = %v, want a retry-after", st.Details())
		}
	})
}

// ticking keeps a raw stream from being silent.
func (r *raw) ticking() (stop func()) {
	done := make(chan struct{})
	go func() {
		for n := int64(1); ; n++ {
			select {
			case <-done:
				return
			case <-time.After(feed.TickEvery):
				_ = r.rpc.Send(agentv1.SyncRequest_builder{Tick: agentv1.Tick_builder{N: n}.Build()}.Build())
			}
		}
	}()

	return func() { close(done) }
}

func TestAnAgentThatIsSilentIsEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		r := w.raw("eu-1")
		defer r.cancel()
		r.welcome("i")
		at := time.Now()
		r.ended(codes.Unavailable, none)
		if d := time.Since(at); d < 90*time.Second || d > 3*time.Minute {
			t.Errorf("ended after %s", d)
		}
	})
}

func TestAnAgentThatReadsNothingCostsAFrameAndDelaysNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "stuck", "lazy", "eu-1")
		defer w.end()
		stuck, lazy, a := w.raw("stuck"), w.raw("lazy"), w.start("eu-1")
		defer stuck.cancel()
		defer lazy.cancel()
		stuck.welcome("i")
		stop := stuck.ticking()
		defer stop()
		lazy.welcome("i")
		defer lazy.ticking()()
		read := make(chan int64, 1)
		go func() { // reads everything, acks nothing
			var n int64
			for {
				m, err := lazy.rpc.Recv()
				if err != nil {
					read <- n
					return
				}
				for _, row := range m.GetDelta().GetRows() {
					n += int64(len(row.GetBody()))
				}
			}
		}()
		body := strings.Repeat("x", 60<<10)
		for i := range 60 { // 3.5 MiB for each
			w.write(func(tx *store.Txn) {
				for _, c := range []string{"stuck", "lazy"} {
					tx.PutOrder(store.FeedRow{ClusterUID: c, UID: uid(i), Generation: 1, Term: 1, Body: []byte(body), Schema: 1})
				}
				tx.PutOrder(w.row("eu-1", uid(i), 1, 1))
			})
		}
		settle()
		w.same(a)
		if a.disk.Standing().Count != 60 {
			t.Errorf("the good agent has %d rows, want 60", a.disk.Standing().Count)
		}
		if sent := w.server.Live("stuck").RowsSent; sent > 5 {
			t.Errorf("%d rows were sent to an agent that reads nothing", sent)
		}
		again := w.raw("stuck") // a sender that is stuck does not keep its successor out
		defer again.cancel()
		again.welcome("i")
		lazy.cancel()
		if n := <-read; n > feed.MaxUnacked+2*feed.FrameTarget {
			t.Errorf("%d bytes were sent without an ack", n)
		}
		synctest.Wait()
	})
}
