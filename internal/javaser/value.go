package javaser

// Value is what a stream holds: nil, string, bool, int8 (byte), uint16 (char),
// int16, int32, int64, float32, float64, *Object, *Array, *Enum or *Class.
type Value any

// Class describes the class of an object as the stream gives it. As a Value it
// is an instance of java.lang.Class or ObjectStreamClass.
type Class struct {
	Name   string // such as java.util.Date or [Ljava.lang.String;
	Serial int64  // serialVersionUID
	Flags  byte
	Fields []FieldType
	Super  *Class
	// Proxy holds the interfaces of a dynamic proxy class, which has no name.
	Proxy []string
}

// FieldType is one field that a class declares. Type is a type code of the
// specification: B C D F I J S Z, L for an object, [ for an array.
type FieldType struct {
	Name string
	Type byte
}

// Object is an instance: what each class of its hierarchy wrote, the topmost
// superclass first.
type Object struct {
	Class *Class
	Parts []Part
}

// Part is what one class of an object's hierarchy wrote.
type Part struct {
	Class  *Class
	Fields map[string]Value
	// Extra is what the class wrote by its own writeObject: block data as
	// []byte, objects as Values.
	Extra []any
}

// Array is a Java array. Bytes holds a byte[], Items everything else.
type Array struct {
	Class *Class
	Bytes []byte
	Items []Value
}

// Enum is a constant of an enum class.
type Enum struct {
	Class *Class
	Name  string
}

// Field is the value of the field with this name, that of the most derived
// class that has one.
func (o *Object) Field(name string) (Value, bool) {
	if o == nil {
		return nil, false
	}
	for i := len(o.Parts) - 1; i >= 0; i-- {
		if v, found := o.Parts[i].Fields[name]; found {
			return v, true
		}
	}
	return nil, false
}

// Extra is what the class of this name wrote by its own writeObject.
func (o *Object) Extra(class string) []any {
	for _, p := range o.Parts {
		if p.Class.Name == class {
			return p.Extra
		}
	}
	return nil
}

// ClassName is the name of the class of an object, array or enum, otherwise a
// word for the kind of value.
func ClassName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "java.lang.String"
	case *Object:
		return v.Class.Name
	case *Array:
		return v.Class.Name
	case *Enum:
		return v.Class.Name
	case *Class:
		return "java.lang.Class"
	}
	return "primitive"
}
