package backend

import (
	"encoding/binary"
	"maps"
	"slices"
	"unicode/utf16"
)

// The serial version of scala.Tuple2 in Scala 2.12, in which Spark 3 is published.
const tuple2Serial = 0x2e94667d5b92f9f5

// Markers of Java's object serialization protocol, version 5.
const (
	javaNull       = 0x70
	javaReference  = 0x71
	javaClass      = 0x72
	javaObject     = 0x73
	javaString     = 0x74
	javaArray      = 0x75
	javaEnd        = 0x78
	javaLongString = 0x7c
	javaHandles    = 0x7e0000
)

// javaPairs encodes properties as Spark gives them to its fine-grained executors:
// a Java-serialised array of scala.Tuple2, in the order of the keys so that all
// nodes make the same bytes.
func javaPairs(conf map[string]string) []byte {
	b := []byte{0xac, 0xed, 0, 5, javaArray, javaClass}
	b = javaText(b, "[Lscala.Tuple2;")
	b = append(b, 0x2e, 0xcc, 0, 0xdf, 0xd1, 0x4f, 0xd7, 0xc0, 2, 0, 0, javaEnd, javaNull)
	b = binary.BigEndian.AppendUint32(b, uint32(len(conf)))
	for i, key := range slices.Sorted(maps.Keys(conf)) {
		b = append(b, javaObject)
		if i == 0 {
			b = append(b, javaClass)
			b = javaText(b, "scala.Tuple2")
			b = binary.BigEndian.AppendUint64(b, tuple2Serial)
			b = append(b, 2, 0, 2, 'L')
			b = append(javaText(b, "_1"), javaString)
			b = append(javaText(b, "Ljava/lang/Object;"), 'L')
			b = append(javaText(b, "_2"), javaReference)
			b = binary.BigEndian.AppendUint32(b, javaHandles+3) // the type of _1
			b = append(b, javaEnd, javaNull)
		} else {
			b = append(b, javaReference)
			b = binary.BigEndian.AppendUint32(b, javaHandles+2) // the class of the first
		}
		b = javaValue(javaValue(b, key), conf[key])
	}
	return b
}

func javaValue(b []byte, s string) []byte {
	text := modifiedUTF8(s)
	if len(text) <= 0xffff {
		b = binary.BigEndian.AppendUint16(append(b, javaString), uint16(len(text)))
	} else {
		b = binary.BigEndian.AppendUint64(append(b, javaLongString), uint64(len(text)))
	}
	return append(b, text...)
}

func javaText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// modifiedUTF8 is Java's form: each UTF-16 unit by itself, and no zero byte.
func modifiedUTF8(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		switch {
		case u != 0 && u < 0x80:
			b = append(b, byte(u))
		case u < 0x800:
			b = append(b, 0xc0|byte(u>>6), 0x80|byte(u&0x3f))
		default:
			b = append(b, 0xe0|byte(u>>12), 0x80|byte(u>>6&0x3f), 0x80|byte(u&0x3f))
		}
	}
	return b
}
