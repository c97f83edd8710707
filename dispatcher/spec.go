package dispatcher

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/specpb"
)

// EncodeSpec makes the bytes that the log keeps of a description.
func EncodeSpec(d *launch.Description) ([]byte, error) {
	return proto.Marshal(&specpb.Spec{
		Name: d.Name, AppResource: d.AppResource, MainClass: d.MainClass, Args: d.Args,
		Environment: pairsToPB(d.Environment), Properties: pairsToPB(d.Properties),
		ClientSparkVersion: d.ClientSparkVersion, Command: d.Command,
		Cores: d.Cores, MemoryMib: d.MemoryMiB, OverheadMib: d.OverheadMiB, Gpus: d.GPUs, Ports: d.Ports,
		Supervise: d.Supervise, Queue: d.Queue, Constraints: d.Constraints,
	})
}

// DecodeSpec reads what EncodeSpec wrote.
func DecodeSpec(data []byte) (*launch.Description, error) {
	var s specpb.Spec
	if err := proto.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("specification cannot be decoded: %w", err)
	}
	return &launch.Description{
		Name: s.Name, AppResource: s.AppResource, MainClass: s.MainClass, Args: s.Args,
		Environment: pairsFromPB(s.Environment), Properties: pairsFromPB(s.Properties),
		ClientSparkVersion: s.ClientSparkVersion, Command: s.Command,
		Cores: s.Cores, MemoryMiB: s.MemoryMib, OverheadMiB: s.OverheadMib, GPUs: s.Gpus, Ports: s.Ports,
		Supervise: s.Supervise, Queue: s.Queue, Constraints: s.Constraints,
	}, nil
}

func pairsToPB(pairs []launch.KV) []*specpb.KeyValue {
	out := make([]*specpb.KeyValue, len(pairs))
	for i, p := range pairs {
		out[i] = &specpb.KeyValue{Key: p.Key, Value: p.Value}
	}
	return out
}

func pairsFromPB(pairs []*specpb.KeyValue) []launch.KV {
	out := make([]launch.KV, len(pairs))
	for i, p := range pairs {
		out[i] = launch.KV{Key: p.Key, Value: p.Value}
	}
	return out
}
