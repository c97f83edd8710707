// Package wire is the byte format that Spark's network module and its external
// shuffle clients speak: frames, and the messages that ride in them.
//
// It is pure: it turns bytes into values and back, knows every limit that a
// hostile peer could try to exceed, and opens no socket and no file. Everything
// is big-endian, as in Java's DataOutput. The format was taken from Spark's
// network-common and network-shuffle modules, versions 2.2.0 to 3.5.1; Spark
// 4.x sends the same bytes.
//
// Two layers:
//
//   - A [Frame] is one unit on the connection. [Reader] cuts them out of a byte
//     stream, with a bound on their size and on the memory of unfinished ones;
//     [AppendFrame] and its relatives write them.
//   - A [Message] is the body of an RPC frame: [DecodeMessage] and [AppendMessage].
//
// Decoders never allocate more than the bytes that have arrived: a declared
// array length is checked against what is left of the frame before it is used.
package wire
