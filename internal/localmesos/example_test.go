package localmesos_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

// A Mesos with two agents, and a look at it.
func Example() {
	m, err := localmesos.Start(context.Background(), localmesos.Options{
		Agents:       2,
		Resources:    "cpus:2;mem:1024",
		AgentOptions: []localmesos.AgentOptions{{Attributes: "rack:a"}, {Attributes: "rack:b"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()

	// Schedulers subscribe at m.URL() + "/api/v1/scheduler"; a browser may look
	// at /state.
	resp, err := http.Get(m.URL() + "/health")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	fmt.Println("health:", resp.Status)
	for i, a := range m.Agents() {
		fmt.Println("agent", i, "on", a.Hostname, "connected:", a.Connected)
	}
	// Output:
	// health: 200 OK
	// agent 0 on 127.0.0.1 connected: true
	// agent 1 on 127.0.0.1 connected: true
}
