package dispatcher

import "github.com/ha-dispatcher/ha-dispatcher/fsm"

// needs remembers what drivers ask for, because decoding a submission at each
// decision would cost more than the decision. It is not safe for concurrent use.
type needs struct {
	svc  *Service
	byID map[string]*Need
}

func newNeeds(s *Service) *needs { return &needs{svc: s, byID: make(map[string]*Need)} }

func (n *needs) of(d *fsm.Driver) (*Need, error) {
	if need, known := n.byID[d.ID]; known {
		return need, nil
	}
	desc, err := n.svc.Description(d)
	if err != nil {
		return nil, err
	}
	need, err := needOf(desc)
	if err != nil {
		return nil, err
	}
	n.byID[d.ID] = need
	return need, nil
}

func (n *needs) forget(id string) { delete(n.byID, id) }
