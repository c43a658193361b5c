package jobs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/waterwheel-io/waterwheel/flink"
)

// ErrNotFound: no job has this name.
var ErrNotFound = errors.New("no such job")

// ErrNotDeleting: an agent reported a job gone that nobody deleted, or not in this term. Nothing was dropped.
var ErrNotDeleting = errors.New("the job is not being deleted there")

// Invalid is a refusal of what was asked for, with every fault found.
type Invalid struct{ Faults []flink.Fault }

// Error names all faults in one line.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "; ")
}

// Conflict is a refusal because of what stands at the hub now.
type Conflict struct {
	Field  string // of the manifest
	Want   string // as the caller expected it
	Have   string // as it is
	Remedy string
}

// Error names both sides and what to do.
func (e *Conflict) Error() string {
	return fmt.Sprintf("%s is %s, not %s: %s", e.Field, e.Have, e.Want, e.Remedy)
}

func generationConflict(want, have int32) *Conflict {
	c := &Conflict{Field: "metadata.generation", Want: fmt.Sprint(want), Have: fmt.Sprint(have)}
	switch {
	case have == 0:
		c.Have, c.Remedy = "0 (no such job)", "leave generation out or set it to 0 to create the job"
	case want == 0:
		c.Want, c.Remedy = "0 (no such job yet)", "the name is taken: choose another, or leave generation out to change the job"
	default:
		c.Remedy = "somebody changed the job meanwhile: get it again and repeat the change"
	}
	return c
}

func deletingConflict() *Conflict {
	return &Conflict{
		Field: "status.state", Want: "there to be changed", Have: string(flink.Deleting),
		Remedy: "the job is being deleted; wait until it is gone, or use another name",
	}
}
