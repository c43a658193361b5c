package flinkdist

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// mirror answers apt-get's commands in order; nil is success.
type mirror struct {
	answers []error
	asked   []string
}

func (m *mirror) run(_ context.Context, _ string, args ...string) error {
	m.asked = append(m.asked, args[0])
	if len(m.answers) == 0 {
		return nil
	}
	err := m.answers[0]
	m.answers = m.answers[1:]
	return err
}

func TestPackagesAreGotThoughAMirrorFailsForAMoment(t *testing.T) {
	empty := errors.New("E: Unable to locate package maven")
	busy := errors.New("E: Failed to fetch x  503  Service Unavailable")
	for name, c := range map[string]struct {
		answers []error
		asked   string
		fails   bool
	}{
		"at once":                      {nil, "install", false},
		"empty lists":                  {[]error{empty, nil, nil}, "install update install", false},
		"a mirror that fails once":     {[]error{busy, nil, nil}, "install update install", false},
		"lists that cannot be had yet": {[]error{empty, busy, empty, nil, nil}, "install update install update install", false},
		"a package that is nowhere":    {[]error{empty, nil, empty}, "install update install", true},
		"a mirror that is away":        {[]error{busy, busy, busy, busy, busy, busy, busy}, "install update install update install update install", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				m := &mirror{answers: slices.Clone(c.answers)}
				err := apt{run: m.run, say: func(string) {}}.get(t.Context(), "", "install", "maven")
				if asked := strings.Join(m.asked, " "); asked != c.asked || (err != nil) != c.fails {
					t.Errorf("asked %q, error %v; want %q, an error: %t", asked, err, c.asked, c.fails)
				}
			})
		})
	}
}

func TestOneAtATimeUsesApt(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	first, waiting := make(chan struct{}), make(chan struct{})
	running := 0
	run := func(context.Context, string, ...string) error {
		running++
		defer func() { running-- }()
		if running > 1 {
			return errors.New("E: Could not get lock")
		}
		close(first)
		<-waiting
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- apt{run: run, say: func(string) {}}.get(t.Context(), "", "install", "docker.io") }()
	<-first
	second := &mirror{}
	said := func(string) {
		if len(second.asked) > 0 {
			t.Error("the second did not wait")
		}
		close(waiting)
	}
	if err := (apt{run: second.run, say: said}).get(t.Context(), "", "install", "maven"); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil || !slices.Equal(second.asked, []string{"install"}) {
		t.Errorf("first: %v; second asked %q", err, second.asked)
	}
}

func TestWordsOfAClientThatFailed(t *testing.T) {
	for said, want := range map[string]string{
		"Reading package lists...\nE: Unable to locate package maven\n":                "E: Unable to locate package maven",
		"[ERROR] \n[ERROR] Plugin x could not be resolved\n[ERROR] \n[ERROR] see -X\n": "[ERROR] Plugin x could not be resolved",
		"something\nKilled\n\n": "Killed",
	} {
		if got := lastWords(said); got != want {
			t.Errorf("of %q: %q, want %q", said, got, want)
		}
	}
}
