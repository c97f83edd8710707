package ui_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/ui"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// oneNode has applied nothing yet. A real node hands its *dispatcher.Leader to
// the pages.
type oneNode struct{ state *fsm.State }

func (n oneNode) View(context.Context, dispatcher.Consistency) (*fsm.View, error) {
	return n.state.View(), nil
}

func (oneNode) Description(d *fsm.Driver) (*launch.Description, error) {
	return dispatcher.DecodeSpec(d.Spec)
}

func (oneNode) Cluster(context.Context) (dispatcher.Cluster, error) {
	return dispatcher.Cluster{Leader: "n1"}, nil
}
func (oneNode) Redaction() *regexp.Regexp       { return nil }
func (oneNode) Status() dispatcher.LeaderStatus { return dispatcher.LeaderStatus{} }

// A node mounts the pages at the root of its web UI port.
func Example() {
	pages, err := ui.New(ui.Config{NodeID: "n1", RESTURL: "http://node-1:7077"}, oneNode{fsm.New()})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "spark-submit --master") {
			_, command, _ := strings.Cut(line, "<code>")
			fmt.Print(command)
		}
	}
	// Output:
	// 200 text/html; charset=utf-8
	// spark-submit --master mesos://node-1:7077 --deploy-mode cluster \
}
