package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waterwheel-io/waterwheel/flink"
)

const (
	waitingLong  = time.Minute // a process that waits longer is told as a trouble
	waitingWords = 300         // bytes of somebody else's words in a message
)

// noteWaiting remembers since when a process of a run does not work.
func (p *pass) noteWaiting(r *RunRecord, s flink.RunObserved) {
	switch words := waiting(s); {
	case len(words) == 0 && !r.Waiting.IsZero():
		r.Waiting, r.WorksSince = time.Time{}, p.now
	case len(words) == 0:
	case r.Waiting.IsZero():
		r.Waiting = p.now
	}
}

// waiting is why processes of a run do not work though they exist: first the JobManager's reason, then the TaskManagers', each once.
func waiting(s flink.RunObserved) []string {
	var words []string
	if w := s.JobManager.Waiting; w != "" && s.JobManager.Exists() {
		words = append(words, w)
	}
	for _, t := range s.TaskManagers {
		if t.Waiting != "" && t.Exists() && !slices.Contains(words, t.Waiting) {
			words = append(words, t.Waiting)
		}
	}
	return words
}

// tellWaiting adds to what is said of a run that comes up, or comes back, why its processes do not work.
func (p *pass) tellWaiting(sit Situation, msg string, s said) (string, said) {
	switch sit {
	case Warming, Starting, TasksNotRunning, Silent, Recovering, TaskManagerLost, NothingToSave:
	default:
		return msg, s
	}
	r := p.m.Current
	if n := p.m.Next; n != nil {
		r = n
	}
	if r == nil || r.End != nil {
		return msg, s
	}
	seen := p.look(r)
	if seen.JobManager.Ended && r.Phase == PhaseProven && r.Crash.Times > 1 {
		seen.JobManager.Waiting = "" // said by crashing
	}
	words := waiting(seen)
	if len(words) == 0 {
		return msg, s
	}
	who := "a TaskManager"
	if seen.JobManager.Waiting != "" {
		who = "its JobManager"
	}
	since := time.Duration(0)
	if !r.Waiting.IsZero() {
		since = p.now.Sub(r.Waiting)
	}
	msg += fmt.Sprintf("; %s does not work, for %s: %s", who, age(since), bounded(strings.Join(words, "; ")))
	if since > waitingLong && s.stalled == "" && s.action == nil {
		s.stalled = reasonOf(words[0])
	}
	return msg, s
}

// phrases are what a place says of processes that wait, and the condition reason for it.
var phrases = []struct{ says, reason string }{
	{"quota", "Quota"},
	{"no node takes it", "Unschedulable"},
	{"cannot be pulled", "ImagePull"},
	{"may not be made", "PodRefused"},
	{"cannot be made", "ContainerConfig"},
	{"ends again and again", "CrashLoop"},
	{"ended with exit", "CrashLoop"},
	{"mount", "Mount"},
	{"its node", "NodeLost"},
	{"being ended", "Ending"},
	{"being deleted", "Ending"},
}

// reasonOf is the condition reason for why a process waits: the word that it
// begins with, or what is known of it.
func reasonOf(words string) string {
	if head, _, ok := strings.Cut(words, ":"); ok && isReason(head) {
		return head
	}
	for _, p := range phrases {
		if strings.Contains(words, p.says) {
			return p.reason
		}
	}
	return "Waiting"
}

// isReason reports whether a word has the form of a condition reason.
func isReason(word string) bool {
	if word == "" || len(word) > 40 || word[0] < 'A' || word[0] > 'Z' {
		return false
	}
	for _, r := range word {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}

// bounded is somebody else's words, not too many of them.
func bounded(text string) string {
	if len(text) <= waitingWords {
		return text
	}
	n := waitingWords
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

// working counts the TaskManagers that exist and are not known to wait for something.
func working(s flink.RunObserved) int {
	n := 0
	for _, t := range s.TaskManagers {
		if t.Exists() && t.Waiting == "" {
			n++
		}
	}
	return n
}
