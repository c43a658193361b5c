package world_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/world"
)

// three is a world of a hub and three agents, each with jobs that run.
func three(ctx context.Context, t *testing.T, jobs int) *world.World {
	t.Helper()
	level := slog.LevelWarn
	if os.Getenv("WORLD_LOG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
	w, err := world.New(ctx, t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"north", "south", "west"} {
		if _, err := w.Join(ctx, name); err != nil {
			t.Fatal(err)
		}
		for i := range jobs {
			if err := w.Apply(ctx, world.Manifest(fmt.Sprintf("%s-%d", name, i), name, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, m := range w.Agents {
		for i := range jobs {
			waitReady(ctx, t, w, fmt.Sprintf("%s-%d", m.Name, i))
		}
	}
	return w
}

func waitReady(ctx context.Context, t *testing.T, w *world.World, name string) {
	t.Helper()
	last := ""
	err := world.Until(ctx, 3*time.Minute, func() bool {
		j, err := w.Job(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		last = j.GetStatus().String()
		return world.Ready(j)
	})
	if err != nil {
		t.Fatalf("%s is not ready: %v; last: %s", name, err, last)
	}
}

func metric(t *testing.T, w *world.World, name string) int {
	t.Helper()
	v, err := w.Metric(name)
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}

func closeWorld(t *testing.T, w *world.World) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestHubGoneForHours: an agent that cannot reach the hub for 20 hours, restarted
// now and then, disturbs nothing; what was edited meanwhile arrives in one round trip.
func TestHubGoneForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := three(ctx, t, 2)
		defer closeWorld(t, w)
		north := w.Agents[0]
		before, runs := north.Place.Disturbances(), north.Place.Alive()

		north.Link.Cut()
		hours := 20
		if testing.Short() {
			hours = 5
		}
		for range 5 {
			time.Sleep(time.Duration(hours) * time.Hour / 5)
			if err := w.StopAgent(north); err != nil {
				t.Fatal(err)
			}
			if err := w.StartAgent(ctx, north); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		disturbed := north.Place.Disturbances() - before
		if now := north.Place.Alive(); strings.Join(now, " ") != strings.Join(runs, " ") {
			t.Errorf("runs behind the cut are %v, were %v", now, runs)
		}

		const edits = 100
		for i := range edits { // of two jobs in turn
			if err := w.Apply(ctx, world.Manifest(fmt.Sprintf("north-%d", i%2), "north", int32(2+(i/2)%7))); err != nil {
				t.Fatal(err)
			}
		}
		rows, frames, dials := metric(t, w, "waterwheel_hub_rows_sent_total"), metric(t, w, "waterwheel_hub_deltas_sent_total"), north.Link.Dials()
		north.Link.Heal()
		waitReady(ctx, t, w, "north-0")
		waitReady(ctx, t, w, "north-1")
		rows, frames, dials = metric(t, w, "waterwheel_hub_rows_sent_total")-rows, metric(t, w, "waterwheel_hub_deltas_sent_total")-frames, north.Link.Dials()-dials
		fmt.Printf("world hub_gone_h=%d agent_restarts=5 disturbed=%d edits=%d round_trips=%d rows=%d dials=%d divergence=%d\n",
			hours, disturbed, edits, frames, rows, dials, metric(t, w, "waterwheel_hub_divergence_total"))
		if disturbed != 0 || rows != 2 || frames != 1 {
			t.Errorf("disturbed=%d, rows=%d (want the 2 that changed), round trips=%d", disturbed, rows, frames)
		}
		if d := metric(t, w, "waterwheel_hub_divergence_total"); d != 0 {
			t.Errorf("%d divergences", d)
		}
	})
}

// TestOneAgentReadsNothing: an agent that takes nothing off its connection slows nobody else.
func TestOneAgentReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := three(ctx, t, 2)
		defer closeWorld(t, w)
		w.Agents[0].Link.StopReading()
		began := time.Now()
		const edits = 300
		for i := range edits {
			for _, m := range w.Agents {
				if err := w.Apply(ctx, world.Manifest(m.Name+"-0", m.Name, int32(2+i%7))); err != nil {
					t.Fatal(err)
				}
			}
		}
		waitReady(ctx, t, w, "south-0")
		waitReady(ctx, t, w, "west-0")
		took := time.Since(began)
		w.Agents[0].Link.ReadAgain()
		waitReady(ctx, t, w, "north-0")
		fmt.Printf("world reads_nothing=north edits=%d others_ready_s=%.0f caught_up=true divergence=%d\n",
			edits*len(w.Agents), took.Seconds(), metric(t, w, "waterwheel_hub_divergence_total"))
		if took > time.Minute {
			t.Errorf("the others took %s", took)
		}
	})
}

// TestHubRestart: a hub that comes back resumes every stream, and nothing is sent or disturbed.
func TestHubRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := three(ctx, t, 2)
		defer closeWorld(t, w)
		before := 0
		for _, m := range w.Agents {
			before += m.Place.Disturbances()
		}
		if err := w.StopHub(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := w.StartHub(ctx); err != nil {
			t.Fatal(err)
		}
		for _, m := range w.Agents {
			waitReady(ctx, t, w, m.Name+"-0")
		}
		after := 0
		for _, m := range w.Agents {
			after += m.Place.Disturbances()
		}
		rows := metric(t, w, "waterwheel_hub_rows_sent_total")
		fmt.Printf("world hub_restarted=true rows=%d disturbed=%d\n", rows, after-before)
		if rows != 0 || after != before {
			t.Errorf("rows=%d disturbed=%d after a restart with nothing changed", rows, after-before)
		}
	})
}

// TestRunDiesBehindTheCut: a run that dies while the hub is gone is back from its newest checkpoint without it.
func TestRunDiesBehindTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := three(ctx, t, 1)
		defer closeWorld(t, w)
		north := w.Agents[0]
		j, err := w.Job(ctx, "north-0")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // some checkpoints
		north.Link.Cut()
		if !north.Place.Kill(j.GetMetadata().GetUid()) {
			t.Fatal("nothing to kill")
		}
		time.Sleep(time.Minute)
		if alive := north.Place.Alive(); len(alive) != 1 || !strings.HasSuffix(alive[0], "-r2") {
			t.Fatalf("behind the cut there live %v, want run 2", alive)
		}
		north.Link.Heal()
		waitReady(ctx, t, w, "north-0")
		j, err = w.Job(ctx, "north-0")
		if err != nil {
			t.Fatal(err)
		}
		r := j.GetStatus().GetRestored()
		if !r.GetProven() || !strings.Contains(r.GetIntended(), "/r1/checkpoints/") || r.GetIntended() != r.GetActual() {
			t.Errorf("restored %v, want a checkpoint of run 1", r)
		}
		fmt.Printf("world run_killed_behind_cut=true back_run=%d restored=%s\n", j.GetStatus().GetRun(), r.GetActual())
	})
}
