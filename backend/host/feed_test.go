package host

import (
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

func TestTheFeedOfOneApplication(t *testing.T) {
	f := newAppFeed()
	_, _, wake := f.Since(f.Next(), 0)
	for i := range feedLength + 10 {
		f.publish(fsm.Change{Index: uint64(i)})
	}
	<-wake
	if _, lost, _ := f.Since(1, 0); !lost {
		t.Error("the first change cannot be kept any more")
	}
	next := f.Next()
	last, lost, _ := f.Since(next-3, 2)
	if lost || len(last) != 2 || last[1].Index != feedLength+8 {
		t.Errorf("%v, %v", last, lost)
	}
	if none, lost, _ := f.Since(next, 0); lost || len(none) != 0 {
		t.Errorf("%v, %v", none, lost)
	}
	f.lose()
	if _, lost, _ := f.Since(next, 0); !lost {
		t.Error("a reader must learn that changes were missed")
	}
	if none, lost, _ := f.Since(f.Next(), 0); lost || len(none) != 0 {
		t.Errorf("%v, %v", none, lost)
	}
}
