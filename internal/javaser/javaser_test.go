package javaser

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decoded(t testing.TB, name string) Value {
	t.Helper()
	v, err := Decode(sample(t, name), Limits{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// at follows fields by name.
func at(t testing.TB, v Value, path string) Value {
	t.Helper()
	for name := range strings.SplitSeq(path, ".") {
		o, isObject := v.(*Object)
		if !isObject {
			t.Fatalf("%s: %s has no fields", path, ClassName(v))
		}
		var found bool
		if v, found = o.Field(name); !found {
			t.Fatalf("%s: %s has no field %s", path, o.Class.Name, name)
		}
		if ClassName(v) == "scala.Some" {
			v, _, _ = Option(v)
		}
	}
	return v
}

// The samples were written to ZooKeeper by the dispatchers of Spark 3.5.1
// (Scala 2.12) and 2.4.8 (Scala 2.11).

func TestAStringIsRead(t *testing.T) {
	if got := decoded(t, "framework-id-3.5.1"); got != "11111111-2222-3333-4444-555555555555-0000" {
		t.Errorf("got %#v", got)
	}
}

func TestAQueuedDriverOfSparkIsRead(t *testing.T) {
	for _, version := range []string{"3.5.1", "2.4.8"} {
		t.Run(version, func(t *testing.T) {
			v := decoded(t, "queued-"+version)
			if ClassName(v) != "org.apache.spark.deploy.mesos.MesosDriverDescription" {
				t.Fatal(ClassName(v))
			}
			if at(t, v, "name") != "python" || at(t, v, "jarUrl") != "http://repo.example/jobs/job.py" ||
				at(t, v, "supervise") != false || at(t, v, "cores") != 1.0 || at(t, v, "command.mainClass") != "" {
				t.Error("a field is wrong")
			}
			args, err := StringSlice(at(t, v, "command.arguments"))
			if err != nil || !reflect.DeepEqual(args, []string{"1"}) {
				t.Errorf("arguments %q, %v", args, err)
			}
			env, err := StringMap(at(t, v, "command.environment"))
			if err != nil || len(env) != 6 || env["SPARK_F"] != "6" {
				t.Errorf("environment %v, %v", env, err)
			}
			settings := "conf.settings"
			if version == "2.4.8" { // Scala 2.11 mangles the names of private fields
				settings = "conf.org$apache$spark$SparkConf$$settings"
			}
			conf, err := StringMap(at(t, v, settings))
			if err != nil || conf["spark.submit.pyFiles"] != "http://repo.example/a.py,http://repo.example/b.zip" || conf["spark.app.name"] != "python" {
				t.Errorf("properties %v, %v", conf, err)
			}
			if when, err := Time(at(t, v, "submissionDate")); err != nil || when.UTC().Format(time.DateOnly) != "2026-11-22" {
				t.Errorf("submitted %v, %v", when, err)
			}
			if _, set, err := Option(at(t, v, "retryState")); set || err != nil {
				t.Errorf("retry state is %v, %v", set, err)
			}
		})
	}
}

func TestALaunchedDriverOfSparkIsRead(t *testing.T) {
	v := decoded(t, "launched-3.5.1")
	id := "driver-20261122141144-0002"
	if at(t, v, "frameworkId") != "11111111-2222-3333-4444-555555555555-0000-"+id || at(t, v, "driverDescription.name") != "supervised ü" {
		t.Error("a field is wrong")
	}
	raw, err := ProtobufBytes(at(t, v, "taskId"), "TaskID")
	if err != nil || !bytes.HasSuffix(raw, []byte(id)) {
		t.Errorf("task id %q, %v", raw, err)
	}
	if _, err := ProtobufBytes(at(t, v, "agentId"), "TaskID"); !errors.As(err, new(*TypeError)) {
		t.Errorf("an agent id as a task id: %v", err)
	}
	args, err := StringSlice(at(t, v, "driverDescription.command.arguments"))
	if err != nil || !reflect.DeepEqual(args, []string{"--date", "2026-11-22", "x y z", "$HOME"}) {
		t.Errorf("arguments %q, %v", args, err)
	}
	for field, want := range map[string]int{"classPathEntries": 2, "libraryPathEntries": 2, "javaOpts": 11} {
		if got, err := StringSlice(at(t, v, "driverDescription.command."+field)); err != nil || len(got) != want {
			t.Errorf("%s: %q, %v", field, got, err)
		}
	}
	env, err := StringMap(at(t, v, "driverDescription.command.environment"))
	if err != nil || !reflect.DeepEqual(env, map[string]string{"SPARK_SCALA_VERSION": "2.12", "SPARK_USER": "etl"}) {
		t.Errorf("environment %v, %v", env, err)
	}
}

func TestARetryingDriverOfSparkIsRead(t *testing.T) {
	for _, version := range []string{"3.5.1", "2.4.8"} {
		v := decoded(t, "retrying-"+version)
		if at(t, v, "retryState.retries") != int32(2) || at(t, v, "retryState.waitTime") != int32(2) {
			t.Errorf("%s: retry state is wrong", version)
		}
		if raw, err := ProtobufBytes(at(t, v, "retryState.lastFailureStatus"), "TaskStatus"); err != nil || len(raw) == 0 {
			t.Errorf("%s: status: %v", version, err)
		}
		if when, err := Time(at(t, v, "retryState.nextRetry")); err != nil || when.Year() != 2026 {
			t.Errorf("%s: next retry %v, %v", version, when, err)
		}
	}
}

// The samples of Scala 2.13 were written by its library (2.13.8) and by Spark
// 3.5.1's own REST messages, Command and SparkConf for it; only the description
// around them is a class of the same name and fields, as no build of the Mesos
// module for 2.13 could be had.

func TestTheCollectionsOfScala213AreRead(t *testing.T) {
	queued, many, launched := decoded(t, "queued-3.5.1-scala2.13"), decoded(t, "many-3.5.1-scala2.13"), decoded(t, "launched-3.5.1-scala2.13")
	for what, c := range map[string]struct {
		v    Value
		want []string
	}{
		"array of one":    {at(t, queued, "command.arguments"), []string{"1"}},
		"empty list":      {at(t, queued, "command.classPathEntries"), []string{}},
		"list":            {at(t, launched, "driverDescription.command.classPathEntries"), []string{"/a.jar", "/b.jar"}},
		"array with text": {at(t, launched, "driverDescription.command.arguments"), []string{"--date", "2026-11-22", "x y z", "$HOME"}},
	} {
		if got, err := StringSlice(c.v); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	if opts, err := StringSlice(at(t, launched, "driverDescription.command.javaOpts")); err != nil || len(opts) != 11 || opts[10] != "-Dquoted=a b" {
		t.Errorf("java options %q, %v", opts, err)
	}
	if env, err := StringMap(at(t, launched, "driverDescription.command.environment")); err != nil ||
		!reflect.DeepEqual(env, map[string]string{"SPARK_SCALA_VERSION": "2.13", "SPARK_USER": "etl"}) {
		t.Errorf("small map %v, %v", env, err)
	}
	env, err := StringMap(at(t, many, "command.environment"))
	if err != nil || len(env) != 64 || env["AaAa"] != "1" || env["BBBB"] != "2" || env["K59"] != "v59" {
		t.Errorf("map with equal hash codes: %v, %v", env, err)
	}
	if conf, err := StringMap(at(t, queued, "conf.settings")); err != nil || conf["spark.app.name"] != "python" {
		t.Errorf("properties %v, %v", conf, err)
	}
	if raw, err := ProtobufBytes(at(t, launched, "driverDescription.retryState.lastFailureStatus"), "TaskStatus"); err != nil || len(raw) == 0 {
		t.Errorf("status %v", err)
	}
}

func TestADamagedCollectionOfScala213IsRefused(t *testing.T) {
	class := func(name string) *Class { return &Class{Name: name} }
	proxy := func(extra ...any) *Object {
		c := class(proxy213)
		return &Object{Class: c, Parts: []Part{{Class: c, Extra: extra}}}
	}
	end := &Object{Class: class(end213)}
	unknown := []byte{255, 255, 255, 255}
	for what, v := range map[string]*Object{
		"no number":        proxy(),
		"short number":     proxy([]byte{0, 1}, "a"),
		"too few":          proxy([]byte{0, 0, 0, 2}, "a"),
		"too many":         proxy([]byte{0, 0, 0, 1}, "a", "b"),
		"no end":           proxy(unknown, "a"),
		"nothing at all":   proxy(unknown),
		"no text":          proxy([]byte{0, 0, 0, 1}, end),
		"smaller than any": proxy([]byte{128, 0, 0, 0}, "a"),
	} {
		if got, err := StringSlice(v); !errors.As(err, new(*TypeError)) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		if got, err := StringMap(v); !errors.As(err, new(*TypeError)) {
			t.Errorf("%s as a map: %q, %v", what, got, err)
		}
	}
	if got, err := StringSlice(proxy(unknown, "a", end)); err != nil || len(got) != 1 {
		t.Errorf("whole: %q, %v", got, err)
	}
}

func TestATextLongerThan64KiBIsRead(t *testing.T) {
	args, err := StringSlice(at(t, decoded(t, "long-3.5.1"), "command.arguments"))
	if err != nil || len(args) != 1 || len(args[0]) != 70000 {
		t.Errorf("%d arguments, %v", len(args), err)
	}
}

// stream puts a stream together by hand.
type stream struct{ bytes.Buffer }

func newStream(marks ...byte) *stream {
	s := &stream{}
	s.Write([]byte{0xac, 0xed, 0, 5})
	s.Write(marks)
	return s
}

func (s *stream) text(v string) *stream {
	s.Write(binary.BigEndian.AppendUint16(nil, uint16(len(v))))
	s.WriteString(v)
	return s
}

func (s *stream) u32(v uint32) *stream {
	s.Write(binary.BigEndian.AppendUint32(nil, v))
	return s
}

func (s *stream) raw(b ...byte) *stream { s.Write(b); return s }

// class writes a class description without superclass.
func (s *stream) class(name string, flags byte, fields ...string) *stream {
	s.raw(tcClassDesc).text(name).raw(0, 0, 0, 0, 0, 0, 0, 1, flags, 0, byte(len(fields)))
	for _, f := range fields {
		s.raw(f[0]).text(f[1:])
		if f[0] == 'L' {
			s.raw(tcString).text("Ljava/lang/Object;")
		}
	}
	return s.raw(tcEndBlockData, tcNull)
}

func TestEveryKindOfValueIsRead(t *testing.T) {
	s := newStream(tcObject).class("P", scSerializable, "Bb", "Cc", "Dd", "Ff", "Ii", "Jj", "Ss", "Zz", "Le", "La", "Lk", "Lself")
	s.raw(0xff, 0, 'x', 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0x3f, 0x80, 0, 0, 0xff, 0xff, 0xff, 0xfe,
		0, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff, 1)
	s.raw(tcEnum).class("E", scSerializable|scEnum).raw(tcString).text("ONE")
	s.raw(tcArray).class("[B", scSerializable).u32(3).raw(1, 2, 3)
	s.raw(tcClass).class("K", scSerializable)
	s.raw(tcReference).u32(baseHandle + 5) // class P, the four equal type texts are each new here
	v, err := Decode(s.Bytes(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	o := v.(*Object)
	for name, want := range map[string]Value{
		"b": int8(-1), "c": uint16('x'), "d": 1.0, "f": float32(1), "i": int32(-2), "j": int64(7), "s": int16(-1), "z": true,
	} {
		if got, _ := o.Field(name); got != want {
			t.Errorf("%s is %#v, want %#v", name, got, want)
		}
	}
	if e, _ := o.Field("e"); e.(*Enum).Name != "ONE" || e.(*Enum).Class.Name != "E" {
		t.Errorf("enum %+v", e)
	}
	if a, _ := o.Field("a"); !bytes.Equal(a.(*Array).Bytes, []byte{1, 2, 3}) {
		t.Errorf("array %+v", a)
	}
	if k, _ := o.Field("k"); k.(*Class).Name != "K" {
		t.Errorf("class %+v", k)
	}
	if self, _ := o.Field("self"); self != o {
		t.Errorf("an object that holds itself: %T", self)
	}
}

func TestModifiedUTF8(t *testing.T) {
	for _, c := range []struct {
		name, want string
		raw        []byte
	}{
		{"plain", "abc", []byte("abc")},
		{"two bytes", "ü", []byte("ü")},
		{"three bytes", "€", []byte("€")},
		{"NUL", "\x00", []byte{0xc0, 0x80}},
		{"surrogate pair", "😀", []byte{0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80}},
		{"lone surrogate", "\uFFFDx", []byte{0xed, 0xa0, 0xbd, 'x'}},
	} {
		if got, ok := decodeUTF(c.raw); !ok || got != c.want {
			t.Errorf("%s: %q, %v", c.name, got, ok)
		}
	}
	for _, raw := range [][]byte{{0}, {0xc3}, {0xe2, 0x82}, {0xff}, {0xf0, 0x9f, 0x98, 0x80}} {
		if got, ok := decodeUTF(raw); ok {
			t.Errorf("% x was taken as %q", raw, got)
		}
	}
}

func TestWhatIsNoStreamIsRefused(t *testing.T) {
	self := newStream(tcObject).raw(tcClassDesc).text("A").raw(0, 0, 0, 0, 0, 0, 0, 1, scSerializable, 0, 0, tcEndBlockData, tcReference).u32(baseHandle)
	deep := newStream()
	for range 300 {
		deep.raw(tcArray).class("[Ljava.lang.Object;", scSerializable).u32(1)
	}
	deep.raw(tcNull)
	bomb := newStream(tcArray).class("[I", scSerializable).u32(0x7fffffff)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrNotStream},
		{"another format", []byte("PK\x03\x04 and so on"), ErrNotStream},
		{"header only", newStream().Bytes(), ErrTruncated},
		{"two values", newStream(tcNull, tcNull).Bytes(), ErrSyntax},
		{"block data at the top", newStream(tcBlockData, 0).Bytes(), ErrSyntax},
		{"unknown mark", newStream(0x6f).Bytes(), ErrSyntax},
		{"reference to nothing", newStream(tcReference).u32(baseHandle).Bytes(), ErrSyntax},
		{"reference below the base", newStream(tcReference).u32(0).Bytes(), ErrSyntax},
		{"object without a class", newStream(tcObject, tcNull).Bytes(), ErrSyntax},
		{"text as a class", newStream(tcObject, tcString).text("x").Bytes(), ErrSyntax},
		{"not serialisable", newStream(tcObject).class("A", 0).Bytes(), ErrSyntax},
		{"externalised in the old format", newStream(tcObject).class("A", scExternalizable).Bytes(), ErrSyntax},
		{"exception of the writer", newStream(tcException).Bytes(), ErrException},
		{"its own superclass", self.Bytes(), ErrLimit},
		{"too deep", deep.Bytes(), ErrLimit},
		{"too many items", bomb.Bytes(), ErrLimit},
		{"negative length", newStream(tcArray).class("[I", scSerializable).u32(0xffffffff).Bytes(), ErrLimit},
		{"negative length of bytes", newStream(tcArray).class("[B", scSerializable).u32(0xffffffff).Bytes(), ErrTruncated},
		{"long text without an end", newStream(tcLongString).u32(0).u32(0x7fffffff).Bytes(), ErrTruncated},
		{"long text of negative length", newStream(tcLongString).u32(0xffffffff).u32(0).Bytes(), ErrSyntax},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(c.data, Limits{})
			if !errors.Is(err, c.want) || !errors.As(err, new(*SyntaxError)) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestEveryCutOfAStreamIsRefused(t *testing.T) {
	data := sample(t, "launched-3.5.1")
	for n := range data {
		if _, err := Decode(data[:n], Limits{}); !errors.As(err, new(*SyntaxError)) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
}

func TestLimitsHold(t *testing.T) {
	data := sample(t, "launched-3.5.1")
	for name, l := range map[string]Limits{"bytes": {Bytes: 100}, "depth": {Depth: 3}, "values": {Values: 50}} {
		if _, err := Decode(data, l); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAValueOfAnotherClassIsATypeError(t *testing.T) {
	for name, err := range map[string]error{
		"sequence": second(StringSlice("x")), "map": second(StringMap("x")), "date": second(Time("x")),
		"option": third(Option("x")), "message": second(ProtobufBytes(nil, "TaskID")),
		"numbers in a sequence": second(StringSlice(&Array{Class: &Class{Name: "[I"}, Items: []Value{int32(1)}})),
	} {
		if !errors.As(err, new(*TypeError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }
