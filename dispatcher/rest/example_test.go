package rest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest"
)

// accepting is a dispatcher that accepts whatever it is given. In production it
// is the dispatcher.Service of the node.
type accepting struct{ rest.Dispatcher }

func (accepting) Submit(_ context.Context, s launch.Submission, _ dispatcher.Request) (dispatcher.Receipt, error) {
	return dispatcher.Receipt{DriverID: "driver-20261122112319-0001"}, nil
}

func (accepting) Leader() string { return "n1" }

// A submission as spark-submit sends it, and the reply, down to the blanks.
func Example() {
	server, err := rest.New(rest.Config{NodeID: "n1", Addr: "127.0.0.1:7077"}, accepting{}, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	port := httptest.NewServer(server)
	defer port.Close()

	reply, err := http.Post(port.URL+"/v1/submissions/create", "application/json", strings.NewReader(`{
	  "action": "CreateSubmissionRequest", "clientSparkVersion": "3.5.1",
	  "appResource": "https://repo.example/app.jar", "mainClass": "org.example.App", "appArgs": ["10"],
	  "environmentVariables": {}, "sparkProperties": {"spark.app.name": "example"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reply.Body.Close()
	body, _ := io.ReadAll(reply.Body)
	fmt.Println(reply.Header.Get("X-HA-Dispatcher-Leader"))
	fmt.Println(string(body))
	// Output:
	// n1
	// {
	//   "action" : "CreateSubmissionResponse",
	//   "serverSparkVersion" : "3.5.1",
	//   "submissionId" : "driver-20261122112319-0001",
	//   "success" : true
	// }
}
