package wire

import (
	"encoding/binary"
	"fmt"
)

// FrameType is the byte after a frame's length.
type FrameType int8

// The frame types of Spark's org.apache.spark.network.protocol.Message.Type.
const (
	ChunkFetchRequest      FrameType = 0
	ChunkFetchSuccess      FrameType = 1
	ChunkFetchFailure      FrameType = 2
	RPCRequest             FrameType = 3
	RPCResponse            FrameType = 4
	RPCFailure             FrameType = 5
	StreamRequest          FrameType = 6
	StreamResponse         FrameType = 7
	StreamFailure          FrameType = 8
	OneWayMessage          FrameType = 9
	UploadStream           FrameType = 10 // since Spark 2.4
	MergedBlockMetaRequest FrameType = 11 // since Spark 3.2
	MergedBlockMetaSuccess FrameType = 12 // since Spark 3.2
)

var frameNames = [...]string{
	"ChunkFetchRequest", "ChunkFetchSuccess", "ChunkFetchFailure", "RpcRequest", "RpcResponse", "RpcFailure",
	"StreamRequest", "StreamResponse", "StreamFailure", "OneWayMessage", "UploadStream",
	"MergedBlockMetaRequest", "MergedBlockMetaSuccess",
}

// String gives Spark's name of the type.
func (t FrameType) String() string {
	if t >= 0 && int(t) < len(frameNames) {
		return frameNames[t]
	}
	return fmt.Sprintf("FrameType(%d)", int8(t))
}

// Sizes that callers need to reserve room for.
const (
	lengthSize = 8
	// ChunkHeaderSize is the length of a ChunkFetchSuccess frame before its body.
	ChunkHeaderSize = lengthSize + 1 + 8 + 4
	// maxFrame is where Spark's own receiver stops (Integer.MAX_VALUE).
	maxFrame = 1<<31 - 1
)

// Frame is one decoded frame of any type; which fields mean something depends
// on Type. Body, Meta alias the buffer they were decoded from.
type Frame struct {
	Type       FrameType
	RequestID  int64  // RPC*, UploadStream, Merged*
	StreamID   int64  // ChunkFetch*
	ChunkIndex int32  // ChunkFetch*
	Stream     string // StreamRequest, StreamResponse, StreamFailure
	Error      string // *Failure
	ByteCount  int64  // raw bytes that follow the frame: StreamResponse, UploadStream
	NumChunks  int32  // MergedBlockMetaSuccess
	Merged     MergedBlock
	Meta       []byte // UploadStream
	Body       []byte // ChunkFetchSuccess, RPCRequest, RPCResponse, OneWayMessage, MergedBlockMetaSuccess
}

// MergedBlock names the block that a MergedBlockMetaRequest asks about.
type MergedBlock struct {
	AppID                        string
	ShuffleID, MergeID, ReduceID int32
}

// DecodeFrame decodes what follows a frame's length field: type, header and
// the body in the frame. Errors wrap [ErrMalformed].
func DecodeFrame(p []byte) (Frame, error) {
	d := decoder{p: p}
	f := Frame{Type: FrameType(d.i8("frame type"))}
	switch f.Type {
	case ChunkFetchRequest, ChunkFetchSuccess, ChunkFetchFailure:
		f.StreamID, f.ChunkIndex = d.i64("stream id"), d.i32("chunk index")
	case RPCRequest, RPCResponse:
		f.RequestID = d.i64("request id")
		d.i32("body size") // written by every Spark, used by none: the body runs to the end
	case OneWayMessage:
		d.i32("body size")
	case RPCFailure:
		f.RequestID = d.i64("request id")
	case StreamRequest, StreamFailure:
		f.Stream = d.string("stream id")
	case StreamResponse:
		f.Stream, f.ByteCount = d.string("stream id"), d.i64("byte count")
	case UploadStream:
		f.RequestID, f.Meta, f.ByteCount = d.i64("request id"), d.bytes("meta"), d.i64("body size")
	case MergedBlockMetaRequest:
		f.RequestID = d.i64("request id")
		f.Merged.AppID = d.string("app id")
		f.Merged.ShuffleID, f.Merged.MergeID, f.Merged.ReduceID = d.i32("shuffle"), d.i32("merge"), d.i32("reduce")
	case MergedBlockMetaSuccess:
		f.RequestID, f.NumChunks = d.i64("request id"), d.i32("chunks")
	default:
		d.fail("unknown frame type %d", int8(f.Type))
	}
	switch f.Type {
	case ChunkFetchFailure, RPCFailure, StreamFailure:
		f.Error = d.string("error text")
	case ChunkFetchSuccess, RPCRequest, RPCResponse, OneWayMessage, MergedBlockMetaSuccess:
		f.Body, d.p = d.p, nil
	}
	return f, d.end("frame")
}

// AppendFrame appends f with its length. For the types whose raw bytes follow
// the frame (StreamResponse, UploadStream) the caller sends ByteCount bytes
// after it.
func AppendFrame(p []byte, f Frame) []byte {
	start := len(p)
	p = append(appendI64(p, 0), byte(f.Type))
	switch f.Type {
	case ChunkFetchRequest, ChunkFetchSuccess, ChunkFetchFailure:
		p = appendI32(appendI64(p, f.StreamID), f.ChunkIndex)
	case RPCRequest, RPCResponse:
		p = appendI32(appendI64(p, f.RequestID), int32(len(f.Body)))
	case OneWayMessage:
		p = appendI32(p, int32(len(f.Body)))
	case RPCFailure:
		p = appendI64(p, f.RequestID)
	case StreamRequest, StreamFailure:
		p = appendString(p, f.Stream)
	case StreamResponse:
		p = appendI64(appendString(p, f.Stream), f.ByteCount)
	case UploadStream:
		p = appendI64(appendBytes(appendI64(p, f.RequestID), f.Meta), f.ByteCount)
	case MergedBlockMetaRequest:
		p = appendString(appendI64(p, f.RequestID), f.Merged.AppID)
		p = appendI32(appendI32(appendI32(p, f.Merged.ShuffleID), f.Merged.MergeID), f.Merged.ReduceID)
	case MergedBlockMetaSuccess:
		p = appendI32(appendI64(p, f.RequestID), f.NumChunks)
	}
	switch f.Type {
	case ChunkFetchFailure, RPCFailure, StreamFailure:
		p = appendString(p, f.Error)
	default:
		p = append(p, f.Body...)
	}
	binary.BigEndian.PutUint64(p[start:], uint64(len(p)-start))
	return p
}

// AppendChunkHeader appends the [ChunkHeaderSize] bytes that precede the n
// bytes of a chunk, so that the chunk itself can come straight from a file.
func AppendChunkHeader(p []byte, streamID int64, chunkIndex int32, n int64) []byte {
	p = append(appendI64(p, ChunkHeaderSize+n), byte(ChunkFetchSuccess))
	return appendI32(appendI64(p, streamID), chunkIndex)
}
