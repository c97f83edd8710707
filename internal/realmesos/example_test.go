package realmesos_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
)

// A master with two agents that can be told apart and killed one by one.
func ExampleStart() {
	ctx := context.Background()
	m, err := realmesos.Start(ctx, realmesos.Options{
		Separate: true,
		PerAgent: []realmesos.AgentOptions{
			{Resources: "cpus:2;mem:1024", Attributes: "rack:a"},
			{Resources: "cpus:8;mem:8192", Attributes: "rack:b"},
		},
		// Lose an agent in seconds instead of minutes.
		Env: []string{"MESOS_AGENT_PING_TIMEOUT=1secs", "MESOS_MAX_AGENT_PING_TIMEOUTS=2"},
	})
	if err != nil {
		log.Fatal(err) // realmesos.ErrUnavailable where it cannot be built
	}
	defer func() { _ = m.Close() }()
	if err := m.KillAgent(1); err != nil {
		log.Fatal(err)
	}
	fmt.Println("mesos://" + m.Addr())
}
