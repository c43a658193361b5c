package stream

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// fakeHub answers a stream as the test says.
type fakeHub struct {
	agentv1.UnimplementedSyncServiceServer
	serve func(grpc.BidiStreamingServer[agentv1.SyncRequest, agentv1.SyncResponse]) error
}

// Sync implements agentv1.SyncServiceServer.
func (f fakeHub) Sync(s grpc.BidiStreamingServer[agentv1.SyncRequest, agentv1.SyncResponse]) error {
	return f.serve(s)
}

// replaceHub puts a hub of the test's making in the place of the real one.
func (w *world) replaceHub(f fakeHub) (stop func()) {
	w.stopHub()
	server, listener := grpc.NewServer(), newWires()
	agentv1.RegisterSyncServiceServer(server, f)
	w.mu.Lock()
	w.listener = listener
	w.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })

	return func() {
		server.Stop()
		_ = listener.Close()
		wg.Wait()
	}
}

func TestAStaleHubIsFencedAtItsWelcomeAndAtItsFrames(t *testing.T) {
	for name, frames := range map[string][]agentv1.SyncResponse_builder{
		"welcome": {{Welcome: agentv1.Welcome_builder{Mode: agentv1.Mode_MODE_RESUME, Epoch: agentv1.Epoch_builder{Number: 1, Id: "old"}.Build()}.Build()}},
		"delta": {
			{Welcome: agentv1.Welcome_builder{Mode: agentv1.Mode_MODE_RESUME, Epoch: agentv1.Epoch_builder{Number: 1 << 40, Id: "new"}.Build()}.Build()},
			{Delta: agentv1.Delta_builder{
				Epoch: agentv1.Epoch_builder{Number: 1, Id: "old"}.Build(), ToRevision: 1 << 40,
				Rows: []*agentv1.Row{agentv1.Row_builder{
					Uid: uid(0), Version: agentv1.Version_builder{EpochNumber: 1 << 41, Revision: 1}.Build(), Deleted: true, Kind: agentv1.RowKind_ROW_KIND_JOB,
				}.Build()},
			}.Build()},
		},
		"tock": {
			{Welcome: agentv1.Welcome_builder{Mode: agentv1.Mode_MODE_RESUME, Epoch: agentv1.Epoch_builder{Number: 1 << 40, Id: "new"}.Build()}.Build()},
			{Tock: agentv1.Tock_builder{Epoch: agentv1.Epoch_builder{Number: 1, Id: "old"}.Build()}.Build()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := begin(t, "eu-1")
				defer w.end()
				a := w.start("eu-1")
				w.order("eu-1", uid(0), 1, 1)
				settle()
				before := a.disk.Standing()
				var tries int
				var mu sync.Mutex
				stop := w.replaceHub(fakeHub{serve: func(s grpc.BidiStreamingServer[agentv1.SyncRequest, agentv1.SyncResponse]) error {
					mu.Lock()
					tries++
					mu.Unlock()
					if _, err := s.Recv(); err != nil {
						return err
					}
					for _, f := range frames {
						if err := s.Send(f.Build()); err != nil {
							return err
						}
					}
					<-s.Context().Done()

					return nil
				}})
				defer stop()
				time.Sleep(10 * time.Minute)
				if st := a.client.State(); st.Reason != "FENCED" || st.State == "connected" {
					t.Errorf("state = %+v", st)
				}
				if after := a.disk.Standing(); after.Root != before.Root || after.Cursor != before.Cursor || a.generation(uid(0)) != 1 {
					t.Errorf("a stale hub changed the records: %+v, then %+v", before, after)
				}
				mu.Lock()
				defer mu.Unlock()
				if tries == 0 || tries > 25 {
					t.Errorf("tries = %d: want few", tries)
				}
			})
		})
	}
}

func TestAHubThatNeverAnswersIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		stop := w.replaceHub(fakeHub{serve: func(s grpc.BidiStreamingServer[agentv1.SyncRequest, agentv1.SyncResponse]) error {
			<-s.Context().Done()

			return nil
		}})
		defer stop()
		a := w.start("eu-1")
		time.Sleep(5 * time.Minute)
		if st := a.client.State(); st.Attempts < 2 || st.Err == "" {
			t.Errorf("state = %+v, want several tries", st)
		}
	})
}

func TestAHubThatStopsTockingIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		stop := w.replaceHub(fakeHub{serve: func(s grpc.BidiStreamingServer[agentv1.SyncRequest, agentv1.SyncResponse]) error {
			err := s.Send(agentv1.SyncResponse_builder{Welcome: agentv1.Welcome_builder{
				Mode: agentv1.Mode_MODE_RESUME, Epoch: agentv1.Epoch_builder{Number: 1 << 40, Id: "e"}.Build(),
			}.Build()}.Build())
			<-s.Context().Done()

			return err
		}})
		defer stop()
		a := w.start("eu-1")
		settle()
		if a.client.State().State != "connected" {
			t.Fatalf("state = %+v", a.client.State())
		}
		at := time.Now()
		for a.client.State().State == "connected" {
			time.Sleep(100 * time.Millisecond)
		}
		if st, d := a.client.State(), time.Since(at); st.Reason != "SILENT" || d < 90*time.Second || d > 105*time.Second {
			t.Errorf("state after %s = %+v, want silent", d, st)
		}
	})
}

func TestADurableReportIsKeptUntilItsOwnAck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		seqs, acks := make(chan int64, 100), make(chan int64)
		stop := w.replaceHub(fakeHub{serve: func(s grpc.BidiStreamingServer[agentv1.SyncRequest, agentv1.SyncResponse]) error {
			epoch := agentv1.Epoch_builder{Number: 1 << 40, Id: "e"}.Build()
			err := s.Send(agentv1.SyncResponse_builder{
				Welcome: agentv1.Welcome_builder{Mode: agentv1.Mode_MODE_RESUME, Epoch: epoch}.Build(),
			}.Build())
			go func() {
				for {
					m, err := s.Recv()
					if err != nil {
						return
					}
					if m.GetReport().GetDurable() {
						seqs <- m.GetReport().GetSeq()
					}
				}
			}()
			for err == nil {
				select {
				case <-s.Context().Done():
					return nil
				case ack := <-acks:
					err = s.Send(agentv1.SyncResponse_builder{Tock: agentv1.Tock_builder{Epoch: epoch, ReportAck: ack}.Build()}.Build())
				}
			}

			return err
		}})
		defer stop()
		a := w.start("eu-1")
		settle()
		for _, u := range []string{uid(0), uid(1)} {
			if err := a.client.Report(t.Context(), u, flink.Status{State: flink.Failed, Term: 1}); err != nil {
				t.Fatal(err)
			}
			settle()
		}
		first, second := <-seqs, <-seqs
		for _, c := range []struct {
			ack  int64
			left int
		}{{0, 2}, {first - 1, 2}, {first, 1}, {first, 1}, {second, 0}} {
			acks <- c.ack
			settle()
			if got := a.client.State().Pending; got != c.left {
				t.Errorf("after an ack of %d: %d reports kept, want %d", c.ack, got, c.left)
			}
		}
	})
}

func TestARenewedCertificateOpensASecondStreamBeforeTheFirstEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		settle()
		first := a.client.State()
		for i := range 20 {
			w.order("eu-1", uid(i), 1, 1)
			a.rotate()
			if err := a.client.Report(t.Context(), uid(i), flink.Status{State: flink.Failed, Term: 1}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		settle()
		w.same(a)
		second := a.client.State()
		if second.State != "connected" || second.Since != first.Since || second.Session == first.Session {
			t.Errorf("states: %+v, then %+v: want another session without a break", first, second)
		}
		if l := w.server.Live("eu-1"); l.Flagged || l.Resumes != 21 {
			t.Errorf("live = %+v: its own second stream is no clone", l)
		}
		if second.Pending != 0 {
			t.Errorf("%d durable reports were lost between the streams", second.Pending)
		}
		// While the hub is away the first stream is not given up for a second one that cannot be had.
		w.net.blackhole("eu-1")
		a.rotate()
		time.Sleep(time.Hour)
		w.net.heal("eu-1")
		time.Sleep(2 * time.Minute)
		settle()
		w.same(a)
	})
}

func TestAHundredStatusesAreOneFrameAndTheLatestOfEachJob(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		w.write(func(tx *store.Txn) {
			for i := range 100 {
				tx.PutOrder(w.row("eu-1", uid(i), 1, 1))
			}
		})
		settle()
		for round := range 50 {
			for i := range 100 {
				st := flink.Status{State: flink.Running, Term: 1, Run: int32(round)}
				if err := a.client.Report(t.Context(), uid(i), st); err != nil {
					t.Fatal(err)
				}
			}
		}
		settle()
		for i := range 100 {
			if st, ok := w.store.Status(uid(i)); !ok || st.Status.Run != 49 {
				t.Fatalf("status of %d = %+v, want the latest", i, st.Status)
			}
		}
	})
}

// TestAnyBreakAtAnyTimeConverges edits, deletes, restarts either end and cuts at random, and at the end everything agrees.
func TestAnyBreakAtAnyTimeConverges(t *testing.T) {
	for seed := range uint64(8) {
		bubble(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			w := begin(t, "eu-1", "eu-2")
			defer w.end()
			a, b := w.start("eu-1"), w.start("eu-2")
			want := map[string]int32{} // uid → generation, 0: tombstone
			versions := map[string]store.Version{}
			cut := false
			for range 120 {
				switch n := rnd.IntN(20); {
				case n < 9:
					u := uid(rnd.IntN(12))
					if g, known := want[u]; !known || g > 0 {
						want[u]++
						w.order("eu-1", u, want[u], 1)
					}
				case n < 11:
					u := uid(rnd.IntN(12))
					if want[u] > 0 {
						want[u] = 0
						w.tombstone("eu-1", u, 1)
					}
				case n < 13:
					a.goAll(t)
				case n < 15:
					w.net.reset("eu-1")
				case n == 15 && !cut:
					w.net.blackhole("eu-1")
					cut = true
				case n == 16 && cut:
					w.net.heal("eu-1")
					cut = false
				case n == 17:
					a.stop()
					a.start()
				case n == 18:
					w.stopHub()
					time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
					w.startHub(false)
				case n == 19:
					a.rotate()
				}
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
				a.versionsGrow(versions)
			}
			if cut {
				w.net.heal("eu-1")
			}
			w.order("eu-2", uid(99), 1, 1)
			time.Sleep(5 * time.Minute)
			a.goAll(t)
			time.Sleep(2 * time.Minute)
			settle()
			w.same(a)
			w.same(b)
			for u, g := range want {
				if got := a.generation(u); got != g {
					t.Errorf("seed %d: %s is at generation %d, want %d", seed, u, got, g)
				}
				if _, known := w.store.View().Order("eu-1", u); known && g == 0 {
					t.Errorf("seed %d: the tombstone of %s was never dropped", seed, u)
				}
			}
			if jobs, _ := b.disk.Jobs(t.Context()); !slices.Equal(jobs, []string{uid(99)}) {
				t.Errorf("seed %d: the other cluster has %v", seed, jobs)
			}
			if st := a.client.State(); st.Pending != 0 {
				t.Errorf("seed %d: %d reports still pending", seed, st.Pending)
			}
		})
	}
}

// TestABreakAfterEachFrameLosesNothing breaks the connections after every number of writes there is.
func TestABreakAfterEachFrameLosesNothing(t *testing.T) {
	for n := 1; n <= 60; n++ {
		bubble(t, func(t *testing.T) {
			w := begin(t, "eu-1")
			defer w.end()
			w.net.lives["eu-1"] = []int{n, n, n + 1}
			for i := range 4 {
				w.order("eu-1", uid(i), 1, 1)
			}
			a := w.start("eu-1")
			synctest.Wait()
			w.order("eu-1", uid(0), 2, 1)
			w.tombstone("eu-1", uid(1), 1)
			w.write(func(tx *store.Txn) {
				bad := w.row("eu-1", uid(3), 2, 1)
				bad.Schema = 99
				tx.PutOrder(bad)
			})
			if err := a.client.Report(t.Context(), uid(2), flink.Status{State: flink.Failed, Term: 1}); err != nil {
				t.Fatal(err)
			}
			settle()
			a.goAll(t)
			time.Sleep(3 * time.Minute)
			a.goAll(t)
			time.Sleep(2 * time.Minute)
			settle()
			w.same(a)
			if st, ok := w.store.Status(uid(2)); !ok || st.Status.State != flink.Failed {
				t.Errorf("after %d writes: the durable report is lost: %+v", n, st.Status)
			}
			if st, _ := w.store.Status(uid(3)); st.Nack == nil || a.generation(uid(3)) > 1 {
				t.Errorf("after %d writes: the nack is lost", n)
			}
			if a.generation(uid(0)) != 2 || a.disk.Standing().Count != 3 || a.client.State().Pending != 0 {
				t.Errorf("after %d writes: generation %d, standing %+v", n, a.generation(uid(0)), a.disk.Standing())
			}
			if _, ok := w.store.View().Order("eu-1", uid(1)); ok {
				t.Errorf("after %d writes: the tombstone was not dropped", n)
			}
		})
	}
}

// goAll removes every job that has a tombstone, as the planner does once nothing of it is left.
func (a *agent) goAll(t *testing.T) {
	t.Helper()
	jobs, err := a.disk.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range jobs {
		rec, ok, err := a.disk.Load(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		if ok && rec.Order.Deleted {
			if err := a.client.Report(t.Context(), u, flink.Status{State: flink.Deleting, Term: rec.Order.Term, Gone: true}); err != nil {
				t.Fatal(err)
			}
			if err := a.disk.Remove(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// rotate says that there is a new certificate.
func (a *agent) rotate() {
	select {
	case a.rotated <- struct{}{}:
	default:
	}
}

// versionsGrow checks I1 for the orders in force: a generation never goes back.
func (a *agent) versionsGrow(seen map[string]store.Version) {
	a.w.t.Helper()
	for i := range 12 {
		g := store.Revision(a.generation(uid(i)))
		if old := seen[uid(i)]; g != 0 && g < old.Revision {
			a.w.t.Errorf("%s went from generation %d back to %d", uid(i), old.Revision, g)
		}
		if g != 0 {
			seen[uid(i)] = store.Version{Revision: g}
		}
	}
}
