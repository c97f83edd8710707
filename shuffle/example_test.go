package shuffle_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
)

// A service is configured by Spark's own properties, serves until its context
// ends, and shows how it is over HTTP.
func Example() {
	cfg, err := shuffle.FromProperties(map[string]string{"spark.shuffle.cleaner.interval": "10s"})
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.Addr = "127.0.0.1:0" // 7337 in real life
	cfg.Log = slog.New(slog.DiscardHandler)
	service, err := shuffle.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer service.Close()

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- service.Serve(ctx) }()

	health := httptest.NewRecorder()
	service.Handler().ServeHTTP(health, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	fmt.Println(health.Code)
	cancel()
	fmt.Println(<-done)
	// Output:
	// 200
	// <nil>
}
