package wire

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waterwheel-io/waterwheel/flink"
)

// StatusJSON is a status in the one JSON form in which people see it.
func StatusJSON(s flink.Status) (json.RawMessage, error) {
	text, err := protojson.Marshal(StatusToProto(s))
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	return text, nil
}

// SpecJSON is a spec in the one JSON form in which people write and see it.
func SpecJSON(s flink.Spec) ([]byte, error) {
	text, err := protojson.Marshal(SpecToProto(s))
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	return text, nil
}
