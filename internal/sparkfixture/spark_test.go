package sparkfixture_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSparkPiRunsAndKeepsAJournal(t *testing.T) {
	spark := sparkfixture.Require(t)
	journal, marker := filepath.Join(t.TempDir(), "journal"), filepath.Join(t.TempDir(), "marker")
	submit := func() (string, error) {
		return spark.Submit(t.Context(), "--master", "local[2]", "--conf", "spark.ui.enabled=false",
			"--class", sparkfixture.MainClass, spark.AppJar(), "4", "0.1", journal, marker)
	}
	if output, err := submit(); err == nil || !strings.Contains(output, "failing on purpose") {
		t.Fatalf("the first attempt: %v\n%s", err, output)
	}
	output, err := submit()
	if err != nil || !strings.Contains(output, "Pi is roughly 3.14") {
		t.Fatalf("the second attempt: %v\n%s", err, output)
	}
	lines, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^start (\d+) \d+\nfail (\d+) \d+\nstart (\d+) \d+\nend (\d+) \d+\n$`)
	pids := want.FindStringSubmatch(string(lines))
	if pids == nil || pids[1] != pids[2] || pids[3] != pids[4] || pids[1] == pids[3] {
		t.Errorf("journal:\n%s", lines)
	}
}

func ExampleFind() {
	ctx := context.Background()
	spark, err := sparkfixture.Find(ctx, sparkfixture.Version3)
	if err != nil {
		log.Fatal(err) // sparkfixture.ErrUnavailable: the text says how to get it
	}
	output, err := spark.Submit(ctx, "--master", "local[2]",
		"--class", sparkfixture.MainClass, spark.AppJar(), "10")
	fmt.Println(output, err)
}

func TestFindNamesWhatIsMissing(t *testing.T) {
	t.Setenv("HA_DISPATCHER_CACHE", t.TempDir())
	t.Setenv("JAVA_HOME", "/no/such/jdk")
	_, err := sparkfixture.Find(t.Context(), sparkfixture.Version3)
	if !errors.Is(err, sparkfixture.ErrUnavailable) || !strings.Contains(err.Error(), "install a JDK 17") {
		t.Errorf("without a JDK: %v", err)
	}
	if _, err := sparkfixture.Find(t.Context(), "2.0"); err == nil || errors.Is(err, sparkfixture.ErrUnavailable) {
		t.Errorf("of an unknown version: %v", err)
	}
}
