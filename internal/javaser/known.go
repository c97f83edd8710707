package javaser

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

const (
	listProxy = "scala.collection.immutable.List$SerializationProxy"
	listEnd   = "scala.collection.immutable.ListSerializeEnd$"
	proxy213  = "scala.collection.generic.DefaultSerializationProxy" // of any collection since Scala 2.13
	end213    = "scala.collection.generic.SerializeEnd$"
	module213 = "scala.runtime.ModuleSerializationProxy" // of a Scala object, such as None
	mapProxy  = "scala.collection.immutable.HashMap$SerializationProxy"
	smallMap  = "scala.collection.immutable.Map$"
)

// StringSlice reads a sequence of strings: an array, or one of the collections
// that Scala 2.11 to 2.13 make of one (WrappedArray, ArraySeq, List, and what
// 2.13 writes as a list of its items). It is a *TypeError if v is something else,
// or holds something else.
func StringSlice(v Value) ([]string, error) {
	items, err := sequence(v)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		s, isText := item.(string)
		if !isText {
			return nil, mismatch("a text in "+ClassName(v), item)
		}
		out = append(out, s)
	}
	return out, nil
}

func sequence(v Value) ([]Value, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case *Array:
		return v.Items, nil
	case *Object:
		switch kind(v) {
		case "scala.collection.immutable.Nil$":
			return nil, nil
		case "scala.collection.mutable.WrappedArray$ofRef":
			return arrayField(v, "array", -1)
		case "scala.collection.immutable.ArraySeq$ofRef": // 2.13
			return arrayField(v, "unsafeArray", -1)
		case "scala.collection.mutable.ArraySeq$ofRef":
			return arrayField(v, "array", -1)
		case proxy213:
			return proxied(v)
		case "scala.collection.mutable.ArraySeq":
			n, _ := v.Field("length")
			length, isInt := n.(int32)
			if !isInt {
				return nil, mismatch("the length of an ArraySeq", n)
			}
			return arrayField(v, "array", int(length))
		case listProxy:
			return untilEnd(v)
		}
	}
	return nil, mismatch("a sequence", v)
}

// arrayField reads the backing array of a collection; length is how much of it
// is in use, negative for all.
func arrayField(o *Object, name string, length int) ([]Value, error) {
	field, _ := o.Field(name)
	a, isArray := field.(*Array)
	if !isArray || length > len(a.Items) {
		return nil, mismatch("the array of "+o.Class.Name, field)
	}
	if length < 0 {
		return a.Items, nil
	}
	return a.Items[:length], nil
}

func untilEnd(o *Object) ([]Value, error) {
	var items []Value
	for _, v := range objects(o.Extra(listProxy)) {
		if ClassName(v) == listEnd {
			return items, nil
		}
		items = append(items, v)
	}
	return nil, mismatch("the end of a List", nil)
}

// proxied reads the items of a collection of Scala 2.13, which it writes as their
// number and themselves; where it does not know the number beforehand, as -1 and
// a mark behind the last.
func proxied(o *Object) ([]Value, error) {
	extra := o.Extra(proxy213)
	if len(extra) == 0 {
		return nil, mismatch("the number of items", nil)
	}
	count, isBlock := extra[0].([]byte)
	if !isBlock || len(count) != 4 {
		return nil, mismatch("the number of items", extra[0])
	}
	items := objects(extra)
	n := int(int32(binary.BigEndian.Uint32(count)))
	if n < 0 {
		n = len(items) - 1
		if n < 0 || kind(items[n]) != end213 {
			return nil, mismatch("the end of a collection", nil)
		}
		items = items[:n]
	}
	if n != len(items) {
		return nil, &TypeError{Want: fmt.Sprintf("%d items", n), Got: fmt.Sprintf("%d", len(items))}
	}
	return items, nil
}

// kind is the class of a value. Since 2.13 a Scala object, of which there is but
// one, is written as the name of its class.
func kind(v Value) string {
	if o, isObject := v.(*Object); isObject && o.Class.Name == module213 {
		field, _ := o.Field("moduleClass")
		if class, isClass := field.(*Class); isClass && class != nil {
			return class.Name
		}
	}
	return ClassName(v)
}

// objects leaves out the block data.
func objects(extra []any) []Value {
	var out []Value
	for _, e := range extra {
		if _, isBlock := e.([]byte); !isBlock {
			out = append(out, e)
		}
	}
	return out
}

// StringMap reads a map of strings: Scala's immutable maps (Map1 to Map4,
// HashMap; in 2.13 any map) and java.util's HashMap and ConcurrentHashMap. It is a *TypeError if
// v is something else, or holds something else.
func StringMap(v Value) (map[string]string, error) {
	pairs, err := mapPairs(v)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		key, isText := pairs[i].(string)
		if !isText {
			return nil, mismatch("a text as key in "+ClassName(v), pairs[i])
		}
		if out[key], isText = pairs[i+1].(string); !isText {
			return nil, mismatch("a text as value in "+ClassName(v), pairs[i+1])
		}
	}
	return out, nil
}

// mapPairs is keys and values in turn.
func mapPairs(v Value) ([]Value, error) {
	o, isObject := v.(*Object)
	if !isObject {
		if v == nil {
			return nil, nil
		}
		return nil, mismatch("a map", v)
	}
	var pairs []Value
	switch name := kind(o); name {
	case smallMap + "EmptyMap$":
	case smallMap + "Map1", smallMap + "Map2", smallMap + "Map3", smallMap + "Map4":
		// Scala 2.13 puts the class into the name of a private field.
		mangled := strings.ReplaceAll(name, ".", "$") + "$$"
		for i := '1'; i <= rune(name[len(name)-1]); i++ {
			for _, part := range []string{"key", "value"} {
				v, found := o.Field(part + string(i))
				if !found {
					v, _ = o.Field(mangled + part + string(i))
				}
				pairs = append(pairs, v)
			}
		}
	case proxy213:
		return tuples(o)
	case mapProxy, "java.util.HashMap":
		pairs = objects(o.Extra(name))
	case "java.util.concurrent.ConcurrentHashMap":
		pairs = objects(o.Extra(name))
		if n := len(pairs); n >= 2 && pairs[n-1] == nil && pairs[n-2] == nil { // its end mark
			pairs = pairs[:n-2]
		}
	default:
		return nil, mismatch("a map", v)
	}
	if len(pairs)%2 != 0 {
		return nil, mismatch("pairs in a map", nil)
	}
	return pairs, nil
}

// tuples reads the items of a map of Scala 2.13.
func tuples(o *Object) ([]Value, error) {
	items, err := proxied(o)
	if err != nil {
		return nil, err
	}
	pairs := make([]Value, 0, 2*len(items))
	for _, item := range items {
		t, isObject := item.(*Object)
		if !isObject || t.Class.Name != "scala.Tuple2" {
			return nil, mismatch("a pair in a map", item)
		}
		key, _ := t.Field("_1")
		value, _ := t.Field("_2")
		pairs = append(pairs, key, value)
	}
	return pairs, nil
}

// Option reads a scala.Option: its value, and whether there is one.
func Option(v Value) (Value, bool, error) {
	switch kind(v) {
	case "scala.None$":
		return nil, false, nil
	case "scala.Some":
		o, _ := v.(*Object)
		for _, name := range []string{"value", "x"} { // of Scala 2.12, of 2.11
			if inner, found := o.Field(name); found {
				return inner, true, nil
			}
		}
	}
	return nil, false, mismatch("an Option", v)
}

// Time reads a java.util.Date.
func Time(v Value) (time.Time, error) {
	const date = "java.util.Date"
	if o, isObject := v.(*Object); isObject && o.Class.Name == date {
		for _, e := range o.Extra(date) {
			if raw, isBlock := e.([]byte); isBlock && len(raw) == 8 {
				return time.UnixMilli(int64(binary.BigEndian.Uint64(raw))), nil
			}
		}
	}
	return time.Time{}, mismatch(date, v)
}

// ProtobufBytes is the encoded message that a Java protobuf object was
// serialised as, in the package of its runtime or in one that it was moved to.
// class is the last part of the name of its Java class, such as TaskStatus.
func ProtobufBytes(v Value, class string) ([]byte, error) {
	o, isObject := v.(*Object)
	if !isObject || !strings.HasSuffix(o.Class.Name, "$SerializedForm") {
		return nil, mismatch("a protobuf message", v)
	}
	name, _ := o.Field("messageClassName")
	text, _ := name.(string)
	if text != class && !strings.HasSuffix(text, "$"+class) {
		return nil, &TypeError{Want: "protobuf message " + class, Got: text}
	}
	field, _ := o.Field("asBytes")
	a, isArray := field.(*Array)
	if !isArray || a.Class.Name != "[B" {
		return nil, mismatch("the bytes of a protobuf message", field)
	}
	return a.Bytes, nil
}
