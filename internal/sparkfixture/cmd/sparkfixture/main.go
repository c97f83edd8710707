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
	"os"
	"os/signal"
	"syscall"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

func main() {
	version := sparkfixture.Version3
	if len(os.Args) > 1 {
		version = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	spark, err := sparkfixture.Find(ctx, version)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, sparkfixture.ErrUnavailable) {
			os.Exit(3)
		}
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]string{
		"version":   spark.Version(),
		"home":      spark.Home(),
		"submit":    spark.SubmitPath(),
		"appJar":    spark.AppJar(),
		"mainClass": sparkfixture.MainClass,
	})
}
