package hub

import (
	"errors"

	"github.com/waterwheel-io/waterwheel/hub/admin"
	"github.com/waterwheel-io/waterwheel/hub/ca"
	"github.com/waterwheel-io/waterwheel/hub/jobs"
	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// explain tells the admin API what kind of refusal an error of the other rooms is. What it does not know is a fault.
func explain(err error) admin.Refusal {
	if e, ok := errors.AsType[*jobs.Invalid](err); ok {
		return admin.Refusal{Kind: admin.Invalid, Text: e.Error(), Faults: e.Faults}
	}
	if e, ok := errors.AsType[*jobs.Conflict](err); ok {
		kind := admin.State
		if e.Field == "metadata.generation" {
			kind = admin.Changed
		}

		return admin.Refusal{Kind: kind, Text: e.Error()}
	}
	for _, known := range []struct {
		err  error
		kind admin.Kind
	}{
		{jobs.ErrNotFound, admin.NotFound},
		{ca.ErrNotFound, admin.NotFound},
		{ca.ErrName, admin.Invalid},
		{ca.ErrAdminName, admin.Invalid},
		{ca.ErrRequest, admin.Invalid},
		{identity.ErrID, admin.Invalid},
		{ca.ErrJoined, admin.State},
		{ca.ErrInUse, admin.State},
	} {
		if errors.Is(err, known.err) {
			return admin.Refusal{Kind: known.kind, Text: err.Error()}
		}
	}

	return admin.Refusal{Kind: admin.Fault, Text: err.Error()}
}
