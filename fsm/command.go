package fsm

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// CommandVersion is the highest command set that this code knows. A leader must
// not write a command of a set that some member does not know; see Registry.
const CommandVersion = 2

// Number names a kind of command in the log. Numbers are never reused.
type Number uint32

// The numbers of the log. 64 to 127 are set aside for the backends.
const (
	NumberSubmitDriver   Number = 1
	NumberKillDriver     Number = 2
	NumberLaunchDrivers  Number = 3
	NumberRejectDriver   Number = 4
	NumberRecordStatuses Number = 5
	NumberSetPolicy      Number = 6
	NumberFrameworkEvent Number = 7
	NumberUpsertNode     Number = 8
	NumberRemoveNode     Number = 9
	NumberImportDriver   Number = 10
	NumberImportDrivers  Number = 11

	NumberRegisterApp            Number = 64
	NumberAppFrameworkEvent      Number = 65
	NumberSetTotals              Number = 66
	NumberLaunchExecutors        Number = 67
	NumberRecordExecutorStatuses Number = 68
	NumberKillExecutors          Number = 69
	NumberExcludeHost            Number = 70
	NumberStopApp                Number = 71
	NumberHostApp                Number = 72
	NumberKeepApp                Number = 73
	NumberExpireApp              Number = 74

	NumberLaunchTasks      Number = 80
	NumberEndAgentExecutor Number = 81
)

// command is one row of the table of commands.
type command struct {
	name  string
	since uint32               // the command set that brought it
	body  func() proto.Message // an empty body to decode into
	apply func(*txn, proto.Message) *fsmpb.Result
}

// registry is the one table of commands. A number that is not in it is refused
// in the same way on every node.
var registry = map[Number]command{}

func register[M any, P interface {
	*M
	proto.Message
}](n Number, name string, since uint32, apply func(*txn, P) *fsmpb.Result) {
	if _, taken := registry[n]; taken {
		panic(fmt.Sprintf("fsm: command number %d is registered twice", n))
	}
	registry[n] = command{
		name:  name,
		since: since,
		body:  func() proto.Message { return P(new(M)) },
		apply: func(t *txn, m proto.Message) *fsmpb.Result { return apply(t, m.(P)) },
	}
}

func init() {
	register(NumberSubmitDriver, "submit driver", 1, applySubmitDriver)
	register(NumberKillDriver, "kill driver", 1, applyKillDriver)
	register(NumberLaunchDrivers, "launch drivers", 1, applyLaunchDrivers)
	register(NumberRejectDriver, "reject driver", 1, applyRejectDriver)
	register(NumberRecordStatuses, "record statuses", 1, applyRecordStatuses)
	register(NumberSetPolicy, "set policy", 1, applySetPolicy)
	register(NumberFrameworkEvent, "framework event", 1, applyFrameworkEvent)
	register(NumberUpsertNode, "upsert node", 1, applyUpsertNode)
	register(NumberRemoveNode, "remove node", 1, applyRemoveNode)
	register(NumberImportDriver, "import driver", 1, applyImportDriver)
	register(NumberImportDrivers, "import drivers", 2, applyImportDrivers)

	register(NumberRegisterApp, "register app", 1, applyRegisterApp)
	register(NumberAppFrameworkEvent, "app framework event", 1, applyAppFrameworkEvent)
	register(NumberSetTotals, "set totals", 1, applySetTotals)
	register(NumberLaunchExecutors, "launch executors", 1, applyLaunchExecutors)
	register(NumberRecordExecutorStatuses, "record executor statuses", 1, applyRecordExecutorStatuses)
	register(NumberKillExecutors, "kill executors", 1, applyKillExecutors)
	register(NumberExcludeHost, "exclude host", 1, applyExcludeHost)
	register(NumberStopApp, "stop app", 1, applyStopApp)
	register(NumberHostApp, "host app", 2, applyHostApp)
	register(NumberKeepApp, "keep app", 2, applyKeepApp)
	register(NumberExpireApp, "expire app", 2, applyExpireApp)

	register(NumberLaunchTasks, "launch tasks", 2, applyLaunchTasks)
	register(NumberEndAgentExecutor, "end agent executor", 2, applyEndAgentExecutor)
}

// Name of the command, for logs and metrics.
func (n Number) Name() string {
	if c, ok := registry[n]; ok {
		return c.name
	}
	return fmt.Sprintf("unknown command %d", uint32(n))
}

// Since is the command set that a member needs for this number; 0 is unknown.
func (n Number) Since() uint32 { return registry[n].since }

// RequestID identifies one request for ever: whoever repeats it gets the outcome
// of the first one. The zero value is refused.
type RequestID [16]byte

// Stamp is what must be decided before the log: identity and time. Apply has
// neither a clock nor randomness.
type Stamp struct {
	RequestID   RequestID
	TimeMs      int64  // Unix time in milliseconds
	Fingerprint uint64 // of the request; a repeat with another one is refused; 0: unchecked
}

// Encode makes a log entry of a command body.
func Encode(n Number, s Stamp, body proto.Message) ([]byte, error) {
	raw, err := proto.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", n.Name(), err)
	}
	data, err := proto.Marshal(&fsmpb.Command{
		Number:      uint32(n),
		RequestId:   s.RequestID[:],
		TimeMs:      s.TimeMs,
		Fingerprint: s.Fingerprint,
		Body:        raw,
	})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", n.Name(), err)
	}
	return data, nil
}

// DecodeResult reads what Apply answered.
func DecodeResult(data []byte) (*fsmpb.Result, error) {
	r := new(fsmpb.Result)
	if err := proto.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("decode result: %w", err)
	}
	return r, nil
}
