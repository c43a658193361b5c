package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/waterwheel-io/waterwheel/flink"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// OrderSchema is the schema of the bytes that OrderBytes writes, for Row.schema.
const OrderSchema int32 = 1

// ErrUnknown is wrapped by errors about an order that says something this
// version does not know. The row that carries it must be nacked: half an order is none.
var ErrUnknown = errors.New("not known to this version")

// CheckSchema refuses the body of a row whose schema is not known here, wrapping ErrUnknown.
func CheckSchema(schema int32) error {
	if schema != OrderSchema {
		return fmt.Errorf("row body of schema %d: %w, which knows schema %d", schema, ErrUnknown, OrderSchema)
	}
	return nil
}

// OrderBytes writes the body of an order's row, the same bytes for the same
// order. Deleted and Policy are not part of it: the row itself carries them.
// It fails only for text that is not UTF-8, which validation refuses before.
func OrderBytes(o flink.Order) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(agentv1.Order_builder{
		Uid:        o.UID,
		Tenant:     o.Tenant,
		Name:       o.Name,
		Labels:     o.Labels,
		Generation: o.Generation,
		Term:       o.Term,
		Spec:       SpecToProto(o.Spec),
		Restart:    o.Restart,

		RestartFrom: o.RestartFrom,
	}.Build())
	if err != nil {
		return nil, fmt.Errorf("encoding order of job %s: %w", o.UID, err)
	}
	return body, nil
}

// OrderFromBytes reads the body of an order's row. Deleted and Policy are left
// empty: the caller takes them from the row. Anything unknown, a field at any
// depth or a word of an enumerated field, is an error that names it and wraps ErrUnknown.
func OrderFromBytes(body []byte) (flink.Order, error) {
	var p agentv1.Order
	if err := proto.Unmarshal(body, &p); err != nil {
		return flink.Order{}, fmt.Errorf("decoding order: %w", err)
	}
	if unknown := unknownFields(p.ProtoReflect(), "order"); len(unknown) > 0 {
		return flink.Order{}, fmt.Errorf("order of job %q: %s: %w", p.GetUid(), strings.Join(unknown, ", "), ErrUnknown)
	}
	if len(p.GetRequests()) > 0 {
		return flink.Order{}, fmt.Errorf("order of job %q: requests (first: %q): %w", p.GetUid(), p.GetRequests()[0].GetVerb(), ErrUnknown)
	}
	o := flink.Order{
		UID:        p.GetUid(),
		Tenant:     p.GetTenant(),
		Name:       p.GetName(),
		Labels:     table(p.GetLabels()),
		Generation: p.GetGeneration(),
		Term:       p.GetTerm(),
		Spec:       SpecFromProto(p.GetSpec()),
		Restart:    p.GetRestart(),

		RestartFrom: p.GetRestartFrom(),
	}
	if err := checkWords(o); err != nil {
		return flink.Order{}, fmt.Errorf("order of job %q: %w", o.UID, err)
	}
	return o, nil
}

// checkWords refuses words of a newer version that would change what is to be done.
func checkWords(o flink.Order) error {
	for _, f := range []struct {
		field, word string
		known       []string
	}{
		{"spec.state", o.Spec.State, []string{"", flink.StateRunning, flink.StateSuspended}},
		{"spec.upgradeMode", o.Spec.UpgradeMode, []string{"", flink.UpgradeStateless, flink.UpgradeSavepoint, flink.UpgradeLastState}},
		{"spec.switch", o.Spec.Switch, []string{"", flink.SwitchWarm, flink.SwitchCold}},
	} {
		if !slices.Contains(f.known, f.word) {
			return fmt.Errorf("%s %q: %w", f.field, f.word, ErrUnknown)
		}
	}
	return nil
}

// unknownFields names what a message and those in it carry beyond their
// schema, at most a few, as a path and a field number.
func unknownFields(m protoreflect.Message, path string) []string {
	const enough = 5
	var out []string
	for raw := m.GetUnknown(); len(raw) > 0 && len(out) < enough; {
		num, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			break
		}
		out = append(out, fmt.Sprintf("%s field %d", path, num))
		raw = raw[n:]
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.IsMap() || fd.Message() == nil {
			return true
		}
		below := path + "." + fd.JSONName()
		if !fd.IsList() {
			out = append(out, unknownFields(v.Message(), below)...)
		} else {
			for i := range v.List().Len() {
				out = append(out, unknownFields(v.List().Get(i).Message(), fmt.Sprintf("%s[%d]", below, i))...)
			}
		}
		return len(out) < enough
	})
	return out
}
