// Command sparkfixture prints, as JSON, where Spark and its application are,
// fetching and compiling them first if need be.
//
//	go run ./internal/sparkfixture/cmd/sparkfixture [VERSION]
//
// It exits with 3 where they cannot be had, and says on stderr how to get them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	version := sparkfixture.Version3
	if len(args) > 0 {
		version = args[0]
	}
	spark, err := sparkfixture.Find(ctx, version)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(map[string]string{
			"version":   spark.Version(),
			"home":      spark.Home(),
			"submit":    spark.SubmitPath(),
			"appJar":    spark.AppJar(),
			"mainClass": sparkfixture.MainClass,
		})
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, sparkfixture.ErrUnavailable):
		status = 3
	default:
		status = 1
	}
	_, _ = fmt.Fprintln(stderr, err)
	return status
}
