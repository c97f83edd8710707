package zkconn_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
)

// Where no server answers, Dial says so in time.
func ExampleDial() {
	_, err := zkconn.Dial(context.Background(), zkconn.Config{Servers: []string{"127.0.0.1:1"}, Wait: 50 * time.Millisecond})
	fmt.Println(errors.Is(err, zkconn.ErrUnreachable))
	// Output: true
}
