package stream

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
)

// bubble runs a test in false time.
func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

func TestTenChangesDuringAnHourOfCutAreTenRowsInOneRoundTrip(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1", "eu-2")
		defer w.end()
		a, other := w.start("eu-1"), w.start("eu-2")
		for i := range 20 {
			w.order("eu-1", uid(i), 1, 1)
		}
		w.order("eu-2", uid(100), 1, 1)
		settle()
		w.same(a)
		w.same(other)
		a.wakes()

		w.net.blackhole("eu-1")
		cut := time.Now()
		for i := range 10 {
			time.Sleep(6 * time.Minute)
			w.order("eu-1", uid(i), 2, 1)
		}
		if a.client.State().State == "connected" {
			t.Error("the agent did not notice the cut")
		}
		if !w.server.Live("eu-2").Up || w.server.Live("eu-1").Up {
			t.Errorf("an hour into the cut: %+v %+v", w.server.Live("eu-1"), w.server.Live("eu-2"))
		}
		if p := w.server.Live("eu-1").Pending; p != 10 {
			t.Errorf("pending = %d, want 10", p)
		}
		sent := w.server.Live("eu-1").RowsSent
		w.net.heal("eu-1")
		time.Sleep(time.Minute + time.Second) // the longest back-off
		settle()
		w.same(a)
		if rows := w.server.Live("eu-1").RowsSent - sent; rows != 10 {
			t.Errorf("rows sent = %d, want 10", rows)
		}
		if woken := a.wakes(); len(woken) != 10 || a.generation(uid(9)) != 2 || a.generation(uid(10)) != 1 {
			t.Errorf("woken = %v", woken)
		}
		if d := time.Since(cut); d < time.Hour {
			t.Errorf("the cut lasted %s", d)
		}
	})
}

func TestFiveThousandEditsOfThreeJobsAreThreeRows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		for i := range 3 {
			w.order("eu-1", uid(i), 1, 1)
		}
		settle()
		w.net.blackhole("eu-1")
		time.Sleep(time.Minute)
		for i := range int32(5000) {
			w.write(func(tx *store.Txn) { tx.PutOrder(w.row("eu-1", uid(int(i%3)), i/3+2, 1)) })
		}
		sent := w.server.Live("eu-1").RowsSent
		w.net.heal("eu-1")
		time.Sleep(time.Minute + time.Second)
		settle()
		w.same(a)
		if rows := w.server.Live("eu-1").RowsSent - sent; rows != 3 {
			t.Errorf("rows sent = %d, want 3", rows)
		}
		if g := a.generation(uid(1)); g != 4999/3+2 {
			t.Errorf("generation = %d, want %d", g, 4999/3+2)
		}
	})
}

func TestTheAgentKeepsItsRecordsThroughARestartDuringTheCut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		w.order("eu-1", uid(0), 1, 1)
		w.order("eu-1", uid(1), 1, 1)
		settle()
		w.net.blackhole("eu-1")
		time.Sleep(10 * time.Minute)
		a.stop()
		w.order("eu-1", uid(1), 2, 1)
		a.start()
		time.Sleep(20 * time.Hour)
		if jobs, err := a.disk.Jobs(t.Context()); err != nil || !slices.Equal(jobs, []string{uid(0), uid(1)}) {
			t.Fatalf("jobs while cut = %v %v", jobs, err)
		}
		if st := a.client.State(); st.State == "connected" || st.Err == "" {
			t.Errorf("state while cut = %+v", st)
		}
		sent := w.server.Live("eu-1").RowsSent
		w.net.heal("eu-1")
		time.Sleep(time.Minute + time.Second)
		settle()
		w.same(a)
		if rows := w.server.Live("eu-1").RowsSent - sent; rows != 1 || a.generation(uid(1)) != 2 {
			t.Errorf("rows = %d, generation = %d", rows, a.generation(uid(1)))
		}
	})
}

func TestAHubRestartWithNothingChangedSendsNoRow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		for i := range 50 {
			w.order("eu-1", uid(i), 1, 1)
		}
		settle()
		w.same(a)
		a.wakes()
		before := a.disk.Standing()
		w.stopHub()
		time.Sleep(time.Minute)
		w.startHub(false)
		time.Sleep(time.Minute + time.Second)
		settle()
		w.same(a)
		live := w.server.Live("eu-1")
		if live.RowsSent != 0 || live.Resumes != 1 || len(a.wakes()) != 0 {
			t.Errorf("live = %+v, want a resume without rows", live)
		}
		after := a.disk.Standing()
		if after.Root != before.Root || after.MaxEpoch <= before.MaxEpoch || after.Cursor.EpochID != w.store.View().Epoch().ID {
			t.Errorf("standing: %+v, then %+v: want the cursor in the new epoch", before, after)
		}
	})
}

func TestAnAgentThatLostItsStoreGetsEverythingAgainTombstonesToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		w.order("eu-1", uid(0), 1, 1)
		w.order("eu-1", uid(1), 1, 1)
		settle()
		w.tombstone("eu-1", uid(1), 1)
		settle()
		a.stop()
		a.lose()
		a.start()
		settle()
		w.same(a)
		rec, ok, err := a.disk.Load(t.Context(), uid(1))
		if err != nil || !ok || !rec.Order.Deleted || a.generation(uid(0)) != 1 {
			t.Errorf("the tombstone = %+v %v %v: a job whose processes still run would be missed", rec, ok, err)
		}
	})
}

func TestDeleteAndRecreateDuringTheCut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		w.order("eu-1", uid(0), 1, 1)
		settle()
		w.net.blackhole("eu-1")
		time.Sleep(time.Minute)
		w.tombstone("eu-1", uid(0), 1)
		w.order("eu-1", uid(1), 1, 1) // the same name, another job
		w.net.heal("eu-1")
		time.Sleep(2 * time.Minute)
		settle()
		w.same(a)
		if woken := a.wakes(); !slices.Equal(woken[len(woken)-2:], []string{uid(0), uid(1)}) {
			t.Errorf("woken = %v, want the tombstone before the new job", woken)
		}
	})
}

func TestATombstoneStaysUntilTheJobIsGoneAndThenBothEndsForgetIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		w.order("eu-1", uid(0), 1, 1)
		settle()
		w.tombstone("eu-1", uid(0), 1)
		settle()
		if _, ok := w.store.View().Order("eu-1", uid(0)); !ok {
			t.Fatal("the tombstone was dropped when it was recorded: too early")
		}
		w.net.blackhole("eu-1")
		time.Sleep(time.Minute)
		if err := a.client.Report(t.Context(), uid(0), flink.Status{State: flink.Deleting, Term: 1, Gone: true}); err != nil {
			t.Fatal(err)
		}
		if err := a.disk.Remove(t.Context(), uid(0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		a.stop() // the report survives the agent
		a.start()
		if n := len(a.disk.Reports()); n != 1 {
			t.Fatalf("reports kept = %d, want 1", n)
		}
		w.net.heal("eu-1")
		time.Sleep(2 * time.Minute)
		settle()
		w.same(a)
		if _, ok := w.store.View().Order("eu-1", uid(0)); ok {
			t.Error("the hub still has the tombstone of a job that is gone")
		}
		if st := a.client.State(); st.Pending != 0 {
			t.Errorf("state = %+v, want no report pending", st)
		}
		if _, ok, _ := a.disk.Load(t.Context(), uid(0)); ok {
			t.Error("the agent still has the record")
		}
	})
}

func TestAJobWithoutTombstoneIsNotDroppedWhateverTheAgentSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		w.order("eu-1", uid(0), 1, 2)
		settle()
		for _, term := range []int32{1, 2} {
			if err := a.client.Report(t.Context(), uid(0), flink.Status{State: flink.Deleting, Term: term, Gone: true}); err != nil {
				t.Fatal(err)
			}
			settle()
		}
		if _, ok := w.store.View().Order("eu-1", uid(0)); !ok || a.generation(uid(0)) != 1 {
			t.Error("the order was dropped without a tombstone")
		}
		// A tombstone of a later term is not answered by the end of an earlier one.
		w.tombstone("eu-1", uid(0), 3)
		if err := a.client.Report(t.Context(), uid(0), flink.Status{State: flink.Deleting, Term: 2, Gone: true, Message: "late"}); err != nil {
			t.Fatal(err)
		}
		settle()
		if _, ok := w.store.View().Order("eu-1", uid(0)); !ok {
			t.Error("the end of an earlier term dropped a later tombstone")
		}
		w.same(a)
	})
}

func TestARowThatCannotBeUsedIsNackedOnceAndTheLastGoodOneRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		w.order("eu-1", uid(0), 1, 1)
		settle()
		w.write(func(tx *store.Txn) {
			bad := w.row("eu-1", uid(0), 2, 1)
			bad.Schema = 99
			tx.PutOrder(bad)
			worse := w.row("eu-1", uid(1), 1, 1)
			worse.Body = append(worse.Body, 0xa2, 0x06, 0x01, 0x00) // a field of a newer hub
			tx.PutOrder(worse)
			tx.PutOrder(w.row("eu-1", uid(2), 1, 1))
		})
		settle()
		w.same(a)
		if a.generation(uid(0)) != 1 || a.generation(uid(1)) != 0 || a.generation(uid(2)) != 1 {
			t.Errorf("generations = %d %d %d", a.generation(uid(0)), a.generation(uid(1)), a.generation(uid(2)))
		}
		for i := range 2 {
			if st, ok := w.store.Status(uid(i)); !ok || st.Nack == nil || st.Nack.Code != "UNSUPPORTED" || st.Nack.Class != "PERMANENT" {
				t.Errorf("status of %d = %+v, want a nack", i, st.Nack)
			}
		}
		time.Sleep(time.Hour)
		if n := w.counter("waterwheel_hub_nacks_total"); n != 2 {
			t.Errorf("nacks = %v, want 2: no loop", n)
		}
		w.order("eu-1", uid(0), 3, 1)
		settle()
		if st, _ := w.store.Status(uid(0)); st.Nack != nil || a.generation(uid(0)) != 3 {
			t.Errorf("mended: nack %+v, generation %d", st.Nack, a.generation(uid(0)))
		}
		w.same(a)
	})
}

func TestABlackHoleIsNoticedWithinTheKeepalive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		settle()
		w.net.blackhole("eu-1")
		at := time.Now()
		for a.client.State().State == "connected" {
			time.Sleep(time.Second)
		}
		if d := time.Since(at); d > 45*time.Second {
			t.Errorf("the agent noticed after %s", d)
		}
		for w.server.Live("eu-1").Up {
			time.Sleep(time.Second)
		}
		if d := time.Since(at); d > 2*time.Minute {
			t.Errorf("the hub noticed after %s", d)
		}
	})
}

func TestStatusesAreTheLatestAndTheDurableOnesSurvive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := begin(t, "eu-1")
		defer w.end()
		a := w.start("eu-1")
		for i := range 3 {
			w.order("eu-1", uid(i), 1, 1)
		}
		settle()
		report := func(i int, st flink.Status) {
			t.Helper()
			st.Term, st.AsOf = 1, time.Now().UTC()
			if err := a.client.Report(t.Context(), uid(i), st); err != nil {
				t.Fatal(err)
			}
		}
		report(0, flink.Status{State: flink.Running, Message: "first"})
		settle()
		if st, _ := w.store.Status(uid(0)); st.Status.Message != "first" {
			t.Errorf("status = %+v", st)
		}
		w.net.blackhole("eu-1")
		for i := range 1000 {
			report(0, flink.Status{State: flink.Running, Message: fmt.Sprint(i)})
			time.Sleep(time.Second)
		}
		report(1, flink.Status{State: flink.Failed, Message: "broken"})
		a.stop()
		a.start()
		w.net.heal("eu-1")
		time.Sleep(2 * time.Minute)
		settle()
		if st, ok := w.store.Status(uid(1)); !ok || st.Status.State != flink.Failed {
			t.Errorf("the terminal state did not survive the agent's restart: %+v", st)
		}
		report(0, flink.Status{State: flink.Running, Message: "after"})
		// A job of another cluster, and a term that was never given: neither is this agent's to speak of.
		w.write(func(tx *store.Txn) { tx.PutOrder(w.row("eu-2", uid(50), 1, 1)) })
		report(50, flink.Status{State: flink.Failed})
		if err := a.client.Report(t.Context(), uid(2), flink.Status{State: flink.Failed, Term: 7}); err != nil {
			t.Fatal(err)
		}
		settle()
		if st, _ := w.store.Status(uid(0)); st.Status.Message != "after" {
			t.Errorf("status = %+v", st.Status)
		}
		if st, ok := w.store.Status(uid(50)); ok {
			t.Errorf("an agent spoke of another cluster's job: %+v", st)
		}
		if st, ok := w.store.Status(uid(2)); ok && st.Term == 7 {
			t.Errorf("an agent spoke for a later term: %+v", st)
		}
		live := w.server.Live("eu-1")
		if live.Dropped != 2 || live.MemoryTotal != 1<<30 || a.client.State().Pending != 0 {
			t.Errorf("live = %+v, state = %+v", live, a.client.State())
		}
		w.same(a)
	})
}
