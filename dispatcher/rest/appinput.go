package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// The limits on what a client may say about an application. Those of counts and
// names are the replicated state's, or lower.
const (
	maxAppID         = 200
	maxAppName       = 1024
	maxURL           = 2048
	maxVersion       = 64
	maxPath          = 4096
	maxUser          = 255
	maxHost          = 255
	maxReason        = 1024
	maxProperties    = 5000
	maxPropertyKey   = 1024
	maxPropertyBytes = 256 << 10 // keys and values together
	maxProfiles      = 1000
	maxHosts         = 10_000
	maxKills         = 10_000
	maxExecutorID    = 64
	minFailover      = time.Second
	maxFailover      = 30 * 24 * time.Hour
	maxExclusion     = 366 * 24 * time.Hour
)

// readInto reads the body, one JSON object, into v and checks it.
func (x *exchange) readInto(v any, check func() error) *failure {
	body, release, f := x.body()
	if f != nil {
		return f
	}
	defer release()
	err := decodeStrictly(body, v)
	if err == nil {
		err = check()
	}
	if err != nil {
		return &failure{status: 400, outcome: notExecuted, message: malformedPrefix + err.Error()}
	}
	return nil
}

// decodeStrictly refuses what is not understood, so that a misspelt field is not
// taken for a default. Errors name fields and never hold values, which may be
// secrets.
func decodeStrictly(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("the body is empty; a JSON object is wanted")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("'%s' holds a JSON %s, which it cannot be", clip(kind.Field), firstWord(kind.Value))
	case errors.As(err, &kind):
		return errors.New("a JSON object is wanted")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON text ends early")
	case err != nil:
		return errors.New(clip(strings.TrimPrefix(err.Error(), "json: ")))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body holds more than one value")
	}
	return nil
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

func checkApplication(a *api.Application) error {
	if a.ID != "" && invalidAppID(a.ID) != "" {
		return errors.New("'id': " + invalidAppID(a.ID))
	}
	if a.Name == "" {
		return errors.New("'name' is missing")
	}
	for _, field := range []struct {
		name, value string
		most        int
	}{
		{"name", a.Name, maxAppName}, {"sparkVersion", a.SparkVersion, maxVersion}, {"sparkHome", a.SparkHome, maxPath},
		{"user", a.User, maxUser}, {"driverUrl", a.DriverURL, maxURL}, {"webUiUrl", a.WebUIURL, maxURL},
	} {
		if err := checkText(field.name, field.value, field.most); err != nil {
			return err
		}
	}
	if !validDriverURL(a.DriverURL) {
		return errors.New("'driverUrl' must be what executors dial: spark://CoarseGrainedScheduler@host:port")
	}
	if !validWebURL(a.WebUIURL) {
		return errors.New("'webUiUrl' must be an http or https URL, without a user")
	}
	if a.SparkVersion != "" && (a.SparkVersion[0] < '0' || a.SparkVersion[0] > '9' || !strings.Contains(a.SparkVersion, ".")) {
		return errors.New("'sparkVersion' must be a version such as 3.5.1")
	}
	if ms := a.FailoverTimeoutMs; ms != 0 && (ms < minFailover.Milliseconds() || ms > maxFailover.Milliseconds()) {
		return fmt.Errorf("'failoverTimeoutMs' must be 0 for the default, or between %d and %d", minFailover.Milliseconds(), maxFailover.Milliseconds())
	}
	return checkProperties(a.Properties)
}

// checkProperties never tells a value.
func checkProperties(properties map[string]string) error {
	if len(properties) > maxProperties {
		return fmt.Errorf("'properties' are more than %d", maxProperties)
	}
	total := 0
	for k, v := range properties {
		total += len(k) + len(v)
		switch {
		case !strings.HasPrefix(k, "spark.") || len(k) > maxPropertyKey || strings.ContainsFunc(k, unicode.IsControl):
			return fmt.Errorf("'properties' holds the key %q: keys begin with spark. and have at most %d bytes", clip(k), maxPropertyKey)
		case strings.ContainsRune(v, 0):
			return fmt.Errorf("'properties': the value of %s holds a zero byte", clip(k))
		}
	}
	if total > maxPropertyBytes {
		return fmt.Errorf("'properties' have more than %d bytes together", maxPropertyBytes)
	}
	return nil
}

func checkText(name, value string, most int) error {
	if len(value) > most {
		return fmt.Errorf("'%s' is longer than %d bytes", name, most)
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return fmt.Errorf("'%s' holds a control character", name)
	}
	return nil
}

// invalidAppID is empty, or what is wrong with an id.
func invalidAppID(id string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}
	if id == "" || len(id) > maxAppID || strings.ContainsFunc(id, odd) || strings.IndexByte("._-", id[0]) >= 0 {
		return fmt.Sprintf("1 to %d letters, digits, '.', '_' and '-' are wanted, and a letter or digit first", maxAppID)
	}
	return ""
}

func validDriverURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "spark" || u.User == nil || u.User.Username() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	_, secret := u.User.Password()
	_, port, err := net.SplitHostPort(u.Host)
	return !secret && err == nil && u.Hostname() != "" && port != ""
}

func validWebURL(text string) bool {
	if text == "" {
		return true
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

func checkTotals(t *api.AppTotals) error {
	if t.Totals == nil {
		return errors.New("'totals' is missing; an empty list wants no executor")
	}
	if len(t.Totals) > maxProfiles {
		return fmt.Errorf("'totals' has more than %d resource profiles", maxProfiles)
	}
	if len(t.Hosts) > maxHosts {
		return fmt.Errorf("'hosts' are more than %d", maxHosts)
	}
	seen := make(map[uint32]bool, len(t.Totals))
	for _, p := range t.Totals {
		if seen[p.Profile] {
			return fmt.Errorf("'totals': profile %d comes twice", p.Profile)
		}
		seen[p.Profile] = true
		for _, amount := range []struct {
			name  string
			value int64
		}{{"total", p.Total}, {"cores", p.Cores}, {"memoryMiB", p.MemoryMiB}, {"gpus", p.GPUs}} {
			if amount.value < 0 || amount.value > fsm.Unlimited {
				return fmt.Errorf("'totals': %s of profile %d must lie between 0 and %d", amount.name, p.Profile, int64(fsm.Unlimited))
			}
		}
	}
	for host, tasks := range t.Hosts {
		if err := checkHost("hosts", host); err != nil {
			return err
		}
		if tasks < 0 || tasks > fsm.Unlimited {
			return fmt.Errorf("'hosts': the number of tasks of %s must lie between 0 and %d", host, int64(fsm.Unlimited))
		}
	}
	return nil
}

func checkHost(field, host string) error {
	if host == "" || len(host) > maxHost || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == '\\' }) {
		return fmt.Errorf("'%s': %q is no name of a host (1 to %d bytes, no blank, no slash)", field, clip(host), maxHost)
	}
	return nil
}

func checkKill(k *api.AppKill) error {
	switch {
	case len(k.Executors) == 0:
		return errors.New("'executors' is missing or empty")
	case len(k.Executors) > maxKills:
		return fmt.Errorf("'executors' are more than %d", maxKills)
	}
	for _, id := range k.Executors {
		if id == "" || len(id) > maxExecutorID {
			return fmt.Errorf("'executors': %q is no id of an executor (1 to %d bytes)", clip(id), maxExecutorID)
		}
	}
	return nil
}

// checkExclude checks an exclusion, or, without, an admission.
func checkExclude(e *api.AppExclude, exclude bool) error {
	if err := checkHost("host", e.Host); err != nil {
		return err
	}
	if !exclude && (e.DurationMs != 0 || e.Reason != "") {
		return errors.New("a host is admitted for good and without a reason; only 'host' is wanted")
	}
	if e.DurationMs < 0 || e.DurationMs > maxExclusion.Milliseconds() {
		return fmt.Errorf("'durationMs' must be 0 for good, or at most %d", maxExclusion.Milliseconds())
	}
	return checkText("reason", e.Reason, maxReason)
}
