package mesosutil

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
)

func readRecords(src io.Reader, limit int) (records []string, err error) {
	r := newRecordReader(src, limit)
	for {
		frame, err := r.ReadFrame()
		if err != nil {
			return records, err
		}
		records = append(records, string(frame))
	}
}

func TestRecords(t *testing.T) {
	for in, want := range map[string]struct {
		records []string
		err     error
	}{
		"":                         {nil, io.EOF},
		"3\nabc":                   {[]string{"abc"}, io.EOF},
		"3\nabc1\nd":               {[]string{"abc", "d"}, io.EOF},
		"0\n0\n1\na0\n":            {[]string{"a"}, io.EOF},
		" 3 \nabc":                 {[]string{"abc"}, io.EOF},
		"2\na\n":                   {[]string{"a\n"}, io.EOF},
		"3\nab":                    {nil, io.ErrUnexpectedEOF},
		"3\n":                      {nil, io.ErrUnexpectedEOF},
		"3":                        {nil, io.ErrUnexpectedEOF},
		"\n":                       {nil, ErrRecord},
		"-1\na":                    {nil, ErrRecord},
		"x\na":                     {nil, ErrRecord},
		"101\n":                    {nil, ErrRecord},
		"18446744073709551615\na":  {nil, ErrRecord},
		"99999999999999999999\na":  {nil, ErrRecord},
		strings.Repeat("0", 21):    {nil, ErrRecord},
		"00000000000000000003\nab": {nil, io.ErrUnexpectedEOF},
	} {
		for name, src := range map[string]io.Reader{"whole": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
			records, err := readRecords(src, 100)
			if diff := cmp.Diff(want.records, records); diff != "" || !errors.Is(err, want.err) {
				t.Errorf("%q, %s: %v, %s", in, name, err, diff)
			}
		}
	}
}

func TestLargeRecordsGiveTheirBufferBack(t *testing.T) {
	large := strings.Repeat("x", 3*keepRecordBuffer)
	r := newRecordReader(strings.NewReader(fmt.Sprintf("%d\n%s1\ny", len(large), large)), len(large))
	if frame, err := r.ReadFrame(); err != nil || string(frame) != large {
		t.Fatal(len(frame), err)
	}
	if frame, err := r.ReadFrame(); err != nil || string(frame) != "y" || r.buf.Cap() > keepRecordBuffer {
		t.Fatalf("%q %v, buffer of %d", frame, err, r.buf.Cap())
	}
}

// What mesos-go's writer writes is what this reader reads, and no input makes
// it panic or read more than its limit.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("3\nabc"), []byte("x"))
	f.Add([]byte("18446744073709551615\n"), []byte{})
	f.Fuzz(func(t *testing.T, raw, record []byte) {
		records, err := readRecords(bytes.NewReader(raw), 64)
		if err == nil {
			t.Fatal("no end")
		}
		for _, r := range records {
			if len(r) == 0 || len(r) > 64 {
				t.Fatalf("record of %d bytes", len(r))
			}
		}
		if len(record) == 0 {
			return
		}
		var stream bytes.Buffer
		if err := recordio.NewWriter(&stream).WriteFrame(record); err != nil {
			t.Fatal(err)
		}
		got, err := readRecords(&stream, len(record))
		if !errors.Is(err, io.EOF) || len(got) != 1 || got[0] != string(record) {
			t.Fatalf("%q, %v", got, err)
		}
	})
}
