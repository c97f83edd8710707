package backend

import (
	"context"
	"time"
)

// Tokens are the delegation tokens of an application, in the form that its
// executors read (for Hadoop's, that of Credentials.writeTokenStorageToStream).
type Tokens struct {
	Data    []byte
	Issued  time.Time
	Expires time.Time // zero: not to be renewed, as after a login from a ticket cache
}

// TokenSource obtains delegation tokens for an application, such as a program
// with a Kerberos principal and keytab does.
type TokenSource interface {
	Obtain(ctx context.Context) (Tokens, error)
}

// TokenSink hands tokens to the application's driver and executors.
type TokenSink func(ctx context.Context, data []byte) error

// renewTokens obtains tokens when its node begins to lead, and new ones when
// spark.security.credentials.renewalRatio (0.75) of their life is over, until ctx
// ends; after a failure it tries again in spark.security.credentials.retryWait
// (1 h). Tokens are in no log and in no replicated state: a new leader obtains its
// own.
func (l *leader) renewTokens(ctx context.Context) {
	if l.cfg.Tokens == nil {
		return
	}
	for {
		wait, again := l.obtainTokens(ctx)
		if !again || !sleep(ctx, wait) {
			return
		}
	}
}

func (l *leader) obtainTokens(ctx context.Context) (wait time.Duration, again bool) {
	retry := max(l.settings.TokenRetry, time.Millisecond)
	tokens, err := l.cfg.Tokens.Obtain(ctx)
	if err == nil && l.cfg.ShareTokens != nil {
		err = l.cfg.ShareTokens(ctx, tokens.Data)
	}
	switch {
	case ctx.Err() != nil:
		return 0, false
	case err != nil:
		l.cfg.Logger.Warn("delegation tokens were not renewed", "error", err, "next_try_in", retry)
		return retry, true
	case tokens.Expires.IsZero():
		l.cfg.Logger.Info("delegation tokens were obtained; they are not renewed")
		return 0, false
	}
	life := tokens.Expires.Sub(tokens.Issued)
	next := tokens.Issued.Add(time.Duration(float64(life) * l.settings.TokenRatio))
	l.cfg.Logger.Info("delegation tokens were obtained", "expire", tokens.Expires, "renewed_at", next)
	return max(next.Sub(l.cfg.Clock()), time.Millisecond), true
}
