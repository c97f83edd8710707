package wire

import "fmt"

// Tag is the first byte of a message; it names the message type.
type Tag int8

// The tags of Spark's BlockTransferMessage.Type. Spark 2.2 knows 0 to 5.
const (
	TagOpenBlocks              Tag = 0
	TagUploadBlock             Tag = 1
	TagRegisterExecutor        Tag = 2
	TagStreamHandle            Tag = 3
	TagRegisterDriver          Tag = 4
	TagHeartbeat               Tag = 5
	TagUploadBlockStream       Tag = 6 // since 2.4
	TagRemoveBlocks            Tag = 7 // since 3.0, as all up to 11
	TagBlocksRemoved           Tag = 8
	TagFetchShuffleBlocks      Tag = 9
	TagGetLocalDirs            Tag = 10
	TagLocalDirs               Tag = 11
	TagPushBlockStream         Tag = 12 // since 3.2, as all up to 18
	TagFinalizeShuffleMerge    Tag = 13
	TagMergeStatuses           Tag = 14
	TagFetchShuffleBlockChunks Tag = 15
	TagDiagnoseCorruption      Tag = 16
	TagCorruptionCause         Tag = 17
	TagBlockPushReturnCode     Tag = 18
	TagRemoveShuffleMerge      Tag = 19 // since 3.3
	tagCount                       = 20
)

var tagNames = [tagCount]string{
	"OpenBlocks", "UploadBlock", "RegisterExecutor", "StreamHandle", "RegisterDriver", "ShuffleServiceHeartbeat",
	"UploadBlockStream", "RemoveBlocks", "BlocksRemoved", "FetchShuffleBlocks", "GetLocalDirsForExecutors",
	"LocalDirsForExecutors", "PushBlockStream", "FinalizeShuffleMerge", "MergeStatuses", "FetchShuffleBlockChunks",
	"DiagnoseCorruption", "CorruptionCause", "BlockPushReturnCode", "RemoveShuffleMerge",
}

// String gives Spark's name of the message.
func (t Tag) String() string {
	if t >= 0 && t < tagCount {
		return tagNames[t]
	}
	return fmt.Sprintf("Tag(%d)", int8(t))
}

// Message is one of the message structs of this package.
type Message interface {
	Tag() Tag
	append(p []byte) []byte
}

// AppendMessage appends m as the body of an RPC or one-way frame.
func AppendMessage(p []byte, m Message) []byte { return m.append(append(p, byte(m.Tag()))) }

// DecodeMessage decodes the body of an RPC or one-way frame. Strings are
// copied; [OpenBlocks].BlockIDs alias body. Errors wrap [ErrMalformed].
func DecodeMessage(body []byte) (Message, error) {
	d := decoder{p: body}
	tag := Tag(d.i8("message tag"))
	if d.err != nil {
		return nil, d.err
	}
	if tag < 0 || tag >= tagCount {
		return nil, fmt.Errorf("%w: Unknown message type: %d", ErrMalformed, int8(tag))
	}
	m := decodeFields(&d, tag)
	if err := d.end(tag.String()); err != nil {
		return nil, err
	}
	return m, nil
}

func decodeFields(d *decoder, tag Tag) Message {
	switch tag {
	case TagOpenBlocks:
		return OpenBlocks{AppID: d.string("app id"), ExecID: d.string("executor id"), BlockIDs: d.stringList("block ids")}
	case TagRegisterExecutor:
		return RegisterExecutor{AppID: d.string("app id"), ExecID: d.string("executor id"), LocalDirs: d.strings("local dirs"),
			SubDirs: d.i32("sub-directories"), ShuffleManager: d.string("shuffle manager")}
	case TagStreamHandle:
		return StreamHandle{StreamID: d.i64("stream id"), NumChunks: d.i32("chunks")}
	case TagRegisterDriver:
		return RegisterDriver{AppID: d.string("app id"), HeartbeatTimeoutMs: d.i64("heartbeat timeout")}
	case TagHeartbeat:
		return Heartbeat{AppID: d.string("app id")}
	case TagRemoveBlocks:
		return RemoveBlocks{AppID: d.string("app id"), ExecID: d.string("executor id"), BlockIDs: d.strings("block ids")}
	case TagBlocksRemoved:
		return BlocksRemoved{N: d.i32("removed blocks")}
	case TagFetchShuffleBlocks:
		return decodeFetch(d)
	case TagGetLocalDirs:
		return GetLocalDirs{AppID: d.string("app id"), ExecIDs: d.strings("executor ids")}
	case TagLocalDirs:
		return decodeLocalDirs(d)
	case TagDiagnoseCorruption:
		return DiagnoseCorruption{AppID: d.string("app id"), ExecID: d.string("executor id"), ShuffleID: d.i32("shuffle"),
			MapID: d.i64("map"), ReduceID: d.i32("reduce"), Checksum: d.i64("checksum"), Algorithm: d.string("algorithm")}
	case TagCorruptionCause:
		return CorruptionCause{Cause: Cause(d.i8("cause"))}
	}
	rest := d.take(len(d.p), "fields")
	return Unsupported{Type: tag, Fields: rest}
}

// OpenBlocks asks for a stream of blocks by name (all Sparks; since 3.0 only
// for RDD blocks, unless spark.shuffle.useOldFetchProtocol is set).
type OpenBlocks struct {
	AppID, ExecID string
	BlockIDs      StringList
}

// RegisterExecutor tells where an executor keeps its files.
type RegisterExecutor struct {
	AppID, ExecID  string
	LocalDirs      []string
	SubDirs        int32 // sub-directories per local dir, Spark's default 64
	ShuffleManager string
}

// StreamHandle answers OpenBlocks and FetchShuffleBlocks.
type StreamHandle struct {
	StreamID  int64
	NumChunks int32
}

// RegisterDriver (Mesos) says that the application's driver is going to
// heartbeat, and after how many milliseconds of silence it counts as gone.
type RegisterDriver struct {
	AppID              string
	HeartbeatTimeoutMs int64
}

// Heartbeat (Mesos) says that the application's driver lives. One-way.
type Heartbeat struct{ AppID string }

// RemoveBlocks asks to delete files of an executor.
type RemoveBlocks struct {
	AppID, ExecID string
	BlockIDs      []string
}

// BlocksRemoved answers RemoveBlocks.
type BlocksRemoved struct{ N int32 }

// FetchShuffleBlocks asks for a stream of shuffle blocks by number. The blocks
// of MapIDs[i] are the next ReduceCounts[i] entries of ReduceIDs; with Batch
// they are exactly two, the bounds [start, end) of one contiguous chunk.
type FetchShuffleBlocks struct {
	AppID, ExecID string
	ShuffleID     int32
	MapIDs        []int64
	ReduceCounts  []int32
	ReduceIDs     []int32
	Batch         bool
}

// NewFetchShuffleBlocks flattens reduce ids that are given per map.
func NewFetchShuffleBlocks(app, exec string, shuffle int32, maps []int64, reduces [][]int32, batch bool) FetchShuffleBlocks {
	m := FetchShuffleBlocks{AppID: app, ExecID: exec, ShuffleID: shuffle, MapIDs: maps, Batch: batch}
	for _, r := range reduces {
		m.ReduceCounts = append(m.ReduceCounts, int32(len(r)))
		m.ReduceIDs = append(m.ReduceIDs, r...)
	}
	return m
}

// GetLocalDirs asks for the directories of executors on the same host.
type GetLocalDirs struct {
	AppID   string
	ExecIDs []string
}

// LocalDirs answers GetLocalDirs: Dirs[i] belongs to ExecIDs[i].
type LocalDirs struct {
	ExecIDs []string
	Dirs    [][]string
}

// DiagnoseCorruption asks why a block's checksum, computed by its reader, does
// not match.
type DiagnoseCorruption struct {
	AppID, ExecID string
	ShuffleID     int32
	MapID         int64
	ReduceID      int32
	Checksum      int64
	Algorithm     string // ADLER32 or CRC32
}

// Cause says where a block was corrupted.
type Cause int8

// The causes, numbered as on the wire.
const (
	CauseDisk Cause = iota
	CauseNetwork
	CauseUnknown
	CauseChecksumPass
	CauseUnsupportedAlgorithm
)

// CorruptionCause answers DiagnoseCorruption.
type CorruptionCause struct{ Cause Cause }

// Unsupported is a message that Spark defines and that has no meaning for an
// external service without push-based shuffle, or that only executors take.
type Unsupported struct {
	Type   Tag
	Fields []byte // aliases the body
}

// Tag implementations.
func (OpenBlocks) Tag() Tag         { return TagOpenBlocks }
func (RegisterExecutor) Tag() Tag   { return TagRegisterExecutor }
func (StreamHandle) Tag() Tag       { return TagStreamHandle }
func (RegisterDriver) Tag() Tag     { return TagRegisterDriver }
func (Heartbeat) Tag() Tag          { return TagHeartbeat }
func (RemoveBlocks) Tag() Tag       { return TagRemoveBlocks }
func (BlocksRemoved) Tag() Tag      { return TagBlocksRemoved }
func (FetchShuffleBlocks) Tag() Tag { return TagFetchShuffleBlocks }
func (GetLocalDirs) Tag() Tag       { return TagGetLocalDirs }
func (LocalDirs) Tag() Tag          { return TagLocalDirs }
func (DiagnoseCorruption) Tag() Tag { return TagDiagnoseCorruption }
func (CorruptionCause) Tag() Tag    { return TagCorruptionCause }
func (m Unsupported) Tag() Tag      { return m.Type }

func (m OpenBlocks) append(p []byte) []byte {
	p = appendString(appendString(p, m.AppID), m.ExecID)
	return append(appendI32(p, int32(m.BlockIDs.n)), m.BlockIDs.raw...)
}

func (m RegisterExecutor) append(p []byte) []byte {
	p = appendStrings(appendString(appendString(p, m.AppID), m.ExecID), m.LocalDirs)
	return appendString(appendI32(p, m.SubDirs), m.ShuffleManager)
}

func (m StreamHandle) append(p []byte) []byte {
	return appendI32(appendI64(p, m.StreamID), m.NumChunks)
}

func (m RegisterDriver) append(p []byte) []byte {
	return appendI64(appendString(p, m.AppID), m.HeartbeatTimeoutMs)
}

func (m Heartbeat) append(p []byte) []byte { return appendString(p, m.AppID) }

func (m RemoveBlocks) append(p []byte) []byte {
	return appendStrings(appendString(appendString(p, m.AppID), m.ExecID), m.BlockIDs)
}

func (m BlocksRemoved) append(p []byte) []byte { return appendI32(p, m.N) }

func (m GetLocalDirs) append(p []byte) []byte {
	return appendStrings(appendString(p, m.AppID), m.ExecIDs)
}

func (m DiagnoseCorruption) append(p []byte) []byte {
	p = appendI32(appendString(appendString(p, m.AppID), m.ExecID), m.ShuffleID)
	p = appendI64(appendI32(appendI64(p, m.MapID), m.ReduceID), m.Checksum)
	return appendString(p, m.Algorithm)
}

func (m CorruptionCause) append(p []byte) []byte { return append(p, byte(m.Cause)) }
func (m Unsupported) append(p []byte) []byte     { return append(p, m.Fields...) }
