package mesosutil

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCredentialsComeFromTheFirstPlaceThatHasThem(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, crlf, two, empty := file("one", "from-file\n"), file("crlf", "from-file\r\n"), file("two", "x\n\n"), file("empty", "\n")
	big := file("big", strings.Repeat("x", maxCredentialFile+1))
	type values = map[string]string
	for name, c := range map[string]struct {
		conf, env         values
		principal, secret string
		wantErr           error
	}{
		"none":       {},
		"conf first": {conf: values{CredentialsPrincipalKey: "a", CredentialsPrincipalFileKey: one}, env: values{CredentialsPrincipalEnv: "b"}, principal: "a"},
		"then env":   {conf: values{CredentialsPrincipalKey: "", CredentialsPrincipalFileKey: one}, env: values{CredentialsPrincipalEnv: "b"}, principal: "b"},
		"then file":  {conf: values{CredentialsPrincipalFileKey: one}, env: values{CredentialsPrincipalFileEnv: crlf}, principal: "from-file"},
		"env's file": {env: values{CredentialsPrincipalFileEnv: crlf}, principal: "from-file"},
		"both":       {conf: values{CredentialsPrincipalKey: "a", CredentialsSecretFileKey: one}, principal: "a", secret: "from-file"},
		"env both":   {env: values{CredentialsPrincipalEnv: "a", CredentialsSecretEnv: "s"}, principal: "a", secret: "s"},
		"env secret file, principal conf": {conf: values{CredentialsPrincipalKey: "a"}, env: values{CredentialsSecretFileEnv: one},
			principal: "a", secret: "from-file"},
		"secret alone":         {conf: values{CredentialsSecretKey: "s"}, wantErr: ErrCredentials},
		"missing file":         {conf: values{CredentialsPrincipalFileKey: dir + "/none"}, wantErr: fs.ErrNotExist},
		"empty file":           {conf: values{CredentialsPrincipalFileKey: empty}, wantErr: ErrCredentials},
		"file too big":         {conf: values{CredentialsPrincipalFileKey: big}, wantErr: ErrCredentials},
		"directory":            {conf: values{CredentialsPrincipalFileKey: dir}, wantErr: ErrCredentials},
		"one newline is kept":  {conf: values{CredentialsPrincipalFileKey: two}, wantErr: ErrCredentials},
		"colon in principal":   {conf: values{CredentialsPrincipalKey: "a:b"}, wantErr: ErrCredentials},
		"newline in principal": {conf: values{CredentialsPrincipalKey: "a\nb"}, wantErr: ErrCredentials},
		"bytes in principal":   {conf: values{CredentialsPrincipalKey: "a\xff"}, wantErr: ErrCredentials},
		"newline in secret":    {conf: values{CredentialsPrincipalKey: "a", CredentialsSecretKey: "s\n"}, wantErr: ErrCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			lookup := func(m values) func(string) (string, bool) {
				return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
			}
			got, err := CredentialsFrom(lookup(c.conf), lookup(c.env))
			if c.wantErr != nil {
				if !errors.Is(err, c.wantErr) || !errors.Is(err, ErrCredentials) {
					t.Fatalf("got %v, want %v", err, c.wantErr)
				}
				return
			}
			if err != nil || got.Principal() != c.principal || got.Secret() != c.secret || (got == nil) != (c.principal == "") {
				t.Fatalf("got %v (secret %q), %v", got, got.Secret(), err)
			}
		})
	}
}

func TestCredentialsNeverPrintTheSecret(t *testing.T) {
	c, err := NewCredentials("spark", "hidden")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		log.Info("x", "pointer", c, "value", *c, "nested", struct{ C *Credentials }{c})
	}
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d %v %+v", c, c, c, c, c, c, c, *c, struct{ C *Credentials }{c})
	fmt.Fprintf(&out, "%v %+v %#v", DriverConfig{Credentials: c}, DriverConfig{Credentials: c}, *c)
	encoded, err := json.Marshal(struct{ C any }{c})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	if strings.Contains(out.String(), "hidden") || strings.Contains(out.String(), fmt.Sprintf("%x", "hidden")) {
		t.Fatalf("the secret is in %s", out.String())
	}
	if !strings.Contains(out.String(), "spark:[redacted]") {
		t.Fatalf("the principal is not in %s", out.String())
	}
}
