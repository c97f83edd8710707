package mesosutil

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// Event is what a Driver reports; exactly the Event… types of this package
// implement it. An event belongs to its receiver and may be kept.
type Event interface{ driverEvent() }

type (
	// EventSubscribed opens a subscription. Commit FrameworkID before using
	// the first offer. A new subscription holds no offers, and no role is
	// suppressed in it. Reconcile after each one.
	EventSubscribed struct {
		FrameworkID       string
		Master            *mesos.MasterInfo // nil when the master did not say
		MasterURL         string            // base URL of the master that answered
		HeartbeatInterval time.Duration
		// Resubscribed is true when this is not the first subscription of
		// this Driver.
		Resubscribed bool
	}
	// EventDisconnected closes the subscription that the last EventSubscribed
	// opened. The driver is already trying to subscribe again.
	EventDisconnected struct{ Err error }
	// EventOffers are resources to accept or decline; never empty.
	EventOffers struct{ Offers []mesos.Offer }
	// EventRescind voids an offer.
	EventRescind struct{ OfferID string }
	// EventInverseOffers ask to give resources back for maintenance.
	EventInverseOffers struct{ Offers []mesos.InverseOffer }
	// EventRescindInverse voids an inverse offer.
	EventRescindInverse struct{ OfferID string }
	// EventUpdate is a task's status. Mesos sends one that has a UUID again
	// and again until Driver.Acknowledge; commit it before that.
	EventUpdate struct{ Status mesos.TaskStatus }
	// EventMessage is data from an executor, delivered at most once.
	EventMessage struct {
		AgentID, ExecutorID string
		Data                []byte
	}
	// EventFailure says that an executor ended (ExecutorID is set) or that an
	// agent was removed (it is ""). Statuses say what that means for tasks.
	EventFailure struct {
		AgentID, ExecutorID string
		Status              *int // exit status of the executor, if known
	}
	// EventError is an error that the master reports. One that ends Run is not
	// sent as an event; Run returns it.
	EventError struct{ Message string }
)

func (EventSubscribed) driverEvent()     {}
func (EventDisconnected) driverEvent()   {}
func (EventOffers) driverEvent()         {}
func (EventRescind) driverEvent()        {}
func (EventInverseOffers) driverEvent()  {}
func (EventRescindInverse) driverEvent() {}
func (EventUpdate) driverEvent()         {}
func (EventMessage) driverEvent()        {}
func (EventFailure) driverEvent()        {}
func (EventError) driverEvent()          {}

// eventOf translates all events but SUBSCRIBED, HEARTBEAT and ERROR, which
// the session handles. It returns nil for what this package does not know and
// for an event whose body is missing.
func eventOf(ev *scheduler.Event) Event {
	switch {
	case ev.Type == scheduler.Event_OFFERS && ev.Offers != nil && len(ev.Offers.Offers) > 0:
		return EventOffers{Offers: ev.Offers.Offers}
	case ev.Type == scheduler.Event_RESCIND && ev.Rescind != nil:
		return EventRescind{OfferID: ev.Rescind.OfferID.Value}
	case ev.Type == scheduler.Event_INVERSE_OFFERS && ev.InverseOffers != nil && len(ev.InverseOffers.InverseOffers) > 0:
		return EventInverseOffers{Offers: ev.InverseOffers.InverseOffers}
	case ev.Type == scheduler.Event_RESCIND_INVERSE_OFFER && ev.RescindInverseOffer != nil:
		return EventRescindInverse{OfferID: ev.RescindInverseOffer.InverseOfferID.Value}
	case ev.Type == scheduler.Event_UPDATE && ev.Update != nil:
		return EventUpdate{Status: ev.Update.Status}
	case ev.Type == scheduler.Event_MESSAGE && ev.Message != nil:
		m := ev.Message
		return EventMessage{AgentID: m.AgentID.Value, ExecutorID: m.ExecutorID.Value, Data: m.Data}
	case ev.Type == scheduler.Event_FAILURE && ev.Failure != nil:
		return failureOf(ev.Failure)
	}
	return nil
}

func failureOf(f *scheduler.Event_Failure) EventFailure {
	out := EventFailure{}
	if f.AgentID != nil {
		out.AgentID = f.AgentID.Value
	}
	if f.ExecutorID != nil {
		out.ExecutorID = f.ExecutorID.Value
	}
	if f.Status != nil {
		status := int(*f.Status)
		out.Status = &status
	}
	return out
}
