package dispatcher_test

import (
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func TestInverseOffersAreDeclined(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) { c.RejectOffer = 77 * time.Second })
	m := s.subscribed()
	m.events <- mesosutil.EventInverseOffers{Offers: []mesos.InverseOffer{{OfferID: mesos.OfferID{Value: "i1"}}, {OfferID: mesos.OfferID{Value: "i2"}}}}
	if c := s.want(m, "DECLINE_INVERSE"); len(c.ids) != 2 || c.ids[1] != "i2" || c.refuse != 77*time.Second {
		t.Errorf("%+v", c)
	}
}
