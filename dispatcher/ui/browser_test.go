package ui

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
)

// screenshotsEnv names a directory to keep pictures in, for people to look at.
const screenshotsEnv = "HA_DISPATCHER_SCREENSHOTS"

func findChromium() (string, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return "", &fixture.UnavailableError{Name: "chromium", Missing: "no program chromium", Remedy: "install Debian's package chromium"}
	}
	return path, nil
}

// browse runs one headless Chromium and returns what it printed and complained
// of. It talks to nobody but the address of the page.
func browse(t *testing.T, chromium, address string, flags ...string) (out, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--user-data-dir=" + t.TempDir(),
		"--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000",
	}, flags...)
	cmd := fixture.Command(ctx, chromium, append(args, address)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, stderr.String())
	}
	return stdout.String(), stderr.String()
}

// complaints are the lines of a page's console: errors of scripts, files that
// did not load, violations of the Content-Security-Policy.
func complaints(log string) (lines []string) {
	for line := range strings.SplitSeq(log, "\n") {
		if strings.Contains(line, "CONSOLE") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestPagesInABrowser(t *testing.T) {
	chromium, err := findChromium()
	fixture.Require(t, "chromium", err)
	b := newBackend(t)
	ids := b.full()
	server := httptest.NewServer(b.pages(testConfig()))
	defer server.Close()
	empty := httptest.NewServer(newBackend(t).pages(testConfig()))
	defer empty.Close()
	for name, tc := range map[string]struct {
		address string
		want    []string
	}{
		"index": {server.URL + "/", []string{"Queued Drivers:", "Launched Drivers:", "Finished Drivers:",
			"Supervise drivers waiting for retry:", ids[fsm.DriverRunning]}},
		"driver": {server.URL + "/driver/" + ids[fsm.DriverRetrying], []string{"Driver state:", "RETRYING", "-retry-2",
			"*********(redacted)"}},
		"list":    {server.URL + "/drivers?q=killed", []string{ids[fsm.DriverKilled]}},
		"cluster": {server.URL + "/cluster", []string{"10.0.0.3:7079", "leader"}},
		"empty":   {empty.URL + "/", []string{"No driver has been submitted yet", "mesos://10.0.0.1:7077"}},
	} {
		t.Run(name, func(t *testing.T) {
			picture := filepath.Join(t.TempDir(), "page.png")
			dom, log := browse(t, chromium, tc.address, "--dump-dom", "--screenshot="+picture, "--window-size=1440,1400")
			wantAll(t, dom, tc.want...)
			// The script has run: it shows its button.
			if button := between(t, dom, `<button id="refresh"`, ">"); strings.Contains(button, "hidden") {
				t.Errorf("the refresh button is hidden: %s", button)
			}
			for _, line := range complaints(log) {
				t.Error(line)
			}
			if info, err := os.Stat(picture); err != nil || info.Size() < 10_000 {
				t.Errorf("%v, %+v", err, info)
			}
			if dir := os.Getenv(screenshotsEnv); dir != "" {
				album(t, chromium, tc.address, filepath.Join(dir, name))
			}
		})
	}
}

// album keeps a page as it looks wide and on a phone, by day and by night.
func album(t *testing.T, chromium, address, prefix string) {
	t.Helper()
	for width, size := range map[string]string{"wide": "1440,1400", "phone": "390,1600"} {
		browse(t, chromium, address, "--screenshot="+prefix+"-"+width+"-light.png", "--window-size="+size)
		browse(t, chromium, address, "--screenshot="+prefix+"-"+width+"-dark.png", "--window-size="+size,
			"--blink-settings=preferredColorScheme=0")
	}
}

// The button loads the page again and again, and says so when nobody answers
// any more.
func TestAutoRefreshInABrowser(t *testing.T) {
	chromium, err := findChromium()
	fixture.Require(t, "chromium", err)
	b := newBackend(t)
	pages := b.pages(testConfig())
	const click = `document.getElementById("refresh").click()`
	var loads atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/click.js":
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, click)
		case "/":
			switch loads.Add(1) {
			case 1:
				_, page := get(t, pages, "/")
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				fmt.Fprint(w, strings.Replace(page, "</head>", `<script src="click.js" defer></script></head>`, 1))
			case 2:
				b.submit(description("newcomer"))
				pages.ServeHTTP(w, r)
			default:
				panic(http.ErrAbortHandler)
			}
		default:
			pages.ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	dom, _ := browse(t, chromium, server.URL+"/", "--dump-dom", "--virtual-time-budget=16000")
	wantAll(t, dom, "newcomer", "This node does not answer.", `aria-pressed="true"`)
	wantNone(t, dom, "No driver has been submitted yet")
	if loads.Load() < 3 {
		t.Errorf("%d loads", loads.Load())
	}
}

// The probe is what the tests above rely on: that an error would be seen.
func TestBrowserReportsWhatThePolicyForbids(t *testing.T) {
	chromium, err := findChromium()
	fixture.Require(t, "chromium", err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!DOCTYPE html><title>x</title><p id=p>clean</p><script>document.getElementById("p").textContent = "run"</script>`)
	}))
	defer server.Close()
	dom, log := browse(t, chromium, server.URL, "--dump-dom")
	if !strings.Contains(dom, "clean") || len(complaints(log)) == 0 {
		t.Errorf("inline script ran, or nobody complained:\n%s\n%s", dom, log)
	}
}
