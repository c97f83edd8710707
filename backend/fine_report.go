package backend

import (
	"cmp"
	"context"
	"strconv"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// fineDuty is the part of a session that runs tasks.
type fineDuty struct {
	*session
	fine   *Fine
	losses map[string]*loss // by agent
}

func (d *fineDuty) close() {}

// ready lets the task scheduler adopt what there is. By now all intents are in the
// state whose ACCEPT can have reached Mesos: that of an older leader is refused
// since this one subscribed, and it came after its intent.
func (d *fineDuty) ready(context.Context) error {
	v := d.cfg.State.View()
	a, found := v.App(d.cfg.AppID)
	if !found {
		return nil
	}
	l := &d.fine.ledger
	if l.leads != d.leading() {
		l.leads = d.leading()
		ad := adoptionOf(v, a)
		for _, t := range ad.Live {
			l.open[t.ID] = true
		}
		d.cfg.Logger.Info("adopting tasks", "live", len(ad.Live), "executors", len(ad.Executors))
		d.fine.scheduler.Adopt(ad)
	}
	d.settle(v)
	return nil
}

// settle tells of the ends of tasks that nobody has told of: those that came about
// without this session, and launches of which the intents were never committed.
func (d *fineDuty) settle(v *fsm.View) {
	for id := range d.fine.ledger.open {
		switch e, found := v.Executor(d.cfg.AppID, strconv.FormatInt(id, 10)); {
		case !found:
			d.ended(id, TaskUpdate{State: mesosutil.TaskLost, Message: "it was not launched, or nobody knows how it ended"})
		case e.State.Terminal():
			d.over(e)
		}
	}
}

func (d *fineDuty) rescanned() {
	if d.subscribed {
		d.settle(d.cfg.State.View())
	}
}

// recorded tells the task scheduler of a status before it is acknowledged: what
// comes with it is not in the log, and until then Mesos sends it again.
func (d *fineDuty) recorded(st *mesos.TaskStatus, res *fsmpb.StatusResult) {
	id, valid := taskNumber(st.TaskID.Value)
	code := fsm.Code(res.Code)
	if !valid || code == fsm.CodeUnknownTask || code.Refused() {
		d.cfg.Logger.Warn("a status of a task that this application never had", "task", clip(st.TaskID.Value))
		return
	}
	d.noteLoss(st, code)
	e, found := d.cfg.State.Executor(d.cfg.AppID, st.TaskID.Value)
	up := TaskUpdate{
		ID: id, ExecutorID: st.GetAgentID().GetValue(), State: mesosutil.SparkState(st.GetState()), Data: st.Data, Message: st.GetMessage(),
	}
	switch {
	case !up.State.Finished():
		if code == fsm.CodeOK && len(st.UUID) > 0 && !d.fine.ledger.told.has(id) {
			d.fine.scheduler.StatusUpdate(up)
		}
	case !found: // forgotten, so that this is all that is known of it
		d.ended(id, up)
	case code == fsm.CodeOK || code == fsm.CodeDuplicate:
		up.State = taskState(e.State) // the end of one that was killed is that, however it shows
		d.ended(id, up)
	}
}

// ended tells the task scheduler of the end of a task, once.
func (d *fineDuty) ended(id int64, up TaskUpdate) {
	if up.ID = id; d.fine.ledger.close(id) {
		d.fine.scheduler.StatusUpdate(up)
	}
}

// over tells of the end of a task that is in the log, unless Mesos is going to
// send the status again that says so.
func (d *fineDuty) over(e *fsm.Executor) {
	l, id := &d.fine.ledger, int64(e.Number)
	if !l.open[id] {
		return
	}
	if st := e.Last; st != nil && len(st.Uuid) > 0 && mesosutil.SparkState(mesos.TaskState(st.State)).Finished() {
		if _, waits := l.awaited[id]; !waits {
			l.awaited[id] = d.cfg.Clock().Add(3 * d.cfg.LaunchQuiet)
		}
		return
	}
	d.tellOver(e)
}

func (d *fineDuty) tellOver(e *fsm.Executor) {
	message := e.Reason
	if e.Last != nil {
		message = cmp.Or(message, e.Last.Message)
	}
	d.ended(int64(e.Number), TaskUpdate{ExecutorID: e.AgentID, State: taskState(e.State), Message: message})
}

// giveUp tells of ends whose status does not come again.
func (d *fineDuty) giveUp(now time.Time) {
	for id, due := range d.fine.ledger.awaited {
		if now.Before(due) {
			d.wakeBy(due)
			continue
		}
		if e, found := d.cfg.State.Executor(d.cfg.AppID, strconv.FormatInt(id, 10)); found {
			d.tellOver(e)
		} else {
			d.ended(id, TaskUpdate{State: mesosutil.TaskLost, Message: "nobody knows how it ended"})
		}
	}
}

func (d *fineDuty) executorChanged(e *fsm.Executor, event string) {
	if event == "" || !e.State.Terminal() {
		return
	}
	d.over(e)
	if e.Dropped && e.Number == e.First && d.liveOn(e.AgentID, every) == 0 {
		d.lose(e.AgentID, "its first task never reached it", 0)
	}
}

func (d *fineDuty) appChanged(_ context.Context, ch *fsm.Change) error {
	if ch.Event == fsm.EventExecutorEnded {
		d.fine.scheduler.ExecutorLost(ch.TaskID, ch.Reason)
	}
	return nil
}
