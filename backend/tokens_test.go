package backend

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// tokenMint makes numbered tokens, some of which fail.
type tokenMint struct {
	life time.Duration // zero: they do not expire
	fail map[int]bool  // by number, from 1 on

	mu     sync.Mutex
	n      int
	shared []string
}

func (m *tokenMint) Obtain(context.Context) (Tokens, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	if m.fail[m.n] {
		return Tokens{}, errors.New("no ticket")
	}
	t := Tokens{Data: fmt.Append(nil, "token-", m.n), Issued: time.Now()}
	if m.life > 0 {
		t.Expires = t.Issued.Add(m.life)
	}
	return t, nil
}

func (m *tokenMint) share(_ context.Context, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shared = append(m.shared, string(data))
	return nil
}

func (m *tokenMint) counts() (obtained int, shared []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n, append([]string(nil), m.shared...)
}

func TestDelegationTokens(t *testing.T) {
	run := func(t *testing.T, m *tokenMint) *suite {
		return suiteWith(t, func(c *Config) { c.Tokens, c.ShareTokens = m, m.share }, "spark.security.credentials.retryWait", "1ms")
	}
	t.Run("are obtained at the start and renewed before they expire", func(t *testing.T) {
		m := &tokenMint{life: 10 * time.Millisecond}
		run(t, m)
		eventually(t, "renewals", func() bool { _, shared := m.counts(); return len(shared) >= 3 })
		_, shared := m.counts()
		wantEqual(t, "first", shared[0], "token-1")
		wantEqual(t, "third", shared[2], "token-3")
	})
	t.Run("are tried again after a failure", func(t *testing.T) {
		m := &tokenMint{life: time.Hour, fail: map[int]bool{1: true, 2: true}}
		run(t, m)
		eventually(t, "tokens", func() bool { _, shared := m.counts(); return len(shared) == 1 })
		_, shared := m.counts()
		wantEqual(t, "first that was shared", shared[0], "token-3")
	})
	t.Run("of a ticket cache are not renewed", func(t *testing.T) {
		m := new(tokenMint)
		s := run(t, m)
		eventually(t, "tokens", func() bool { n, _ := m.counts(); return n == 1 })
		s.Close()
		n, _ := m.counts()
		wantEqual(t, "obtained", n, 1)
	})
	t.Run("end with the leadership", func(t *testing.T) {
		m := &tokenMint{life: time.Hour}
		s := run(t, m)
		eventually(t, "tokens", func() bool { n, _ := m.counts(); return n == 1 })
		s.Close() // does not wait for an hour; goleak sees what is left
	})
	t.Run("wrong settings are refused by name", func(t *testing.T) {
		for key, value := range map[string]string{
			"spark.security.credentials.renewalRatio": "2", "spark.security.credentials.retryWait": "soon",
		} {
			cfg := Config{AppID: "app", Context: Context{AppName: "a", SparkHome: "/s", Conf: props(key, value)}}
			_, _, err := cfg.withDefaults(coarseGrained)
			var invalid *InvalidError
			if !errors.As(err, &invalid) {
				t.Errorf("%s=%s: %v", key, value, err)
			}
		}
	})
}
