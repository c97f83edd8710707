package loadgen_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"os"

	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
)

func ExampleRun() {
	dispatcher := httptest.NewServer(&server{})
	defer dispatcher.Close()
	cfg := loadgen.Config{Servers: []string{dispatcher.URL}, Clients: 8, Count: 1000}
	report, err := loadgen.Run(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	report.Verified, err = loadgen.Verify(context.Background(), cfg, report.IDs)
	if err != nil {
		log.Fatal(err)
	}
	report.WriteTable(os.Stderr)
	fmt.Println(report.Submit.OK, "acknowledged,", report.Verified.Lost, "lost")
	// Output: 1000 acknowledged, 0 lost
}
