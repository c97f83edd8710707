// Package javaser reads Java serialisation streams without Java.
//
// The dispatcher of Spark keeps its drivers in ZooKeeper as serialised Java
// objects. [Decode] turns such bytes into a tree of plain values: it looks up
// no class, calls no code and creates nothing but the types of this package,
// so a hostile stream can do no more than be refused. What it costs is bounded
// by [Limits].
//
// The format is the grammar of the Java Object Serialization Specification,
// chapter 6 (Object Serialization Stream Protocol). Objects are shared by
// handle and may refer to themselves; walk them with a bound.
//
// A Java collection is an object like any other here. [StringSlice],
// [StringMap], [Option], [Time] and [ProtobufBytes] know how the classes that
// Spark 2.2 to 3.5 writes lay out what they hold, be it built for Scala 2.11,
// 2.12 or 2.13.
package javaser
