package mesosutil

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxCredentialFile = 64 << 10
	redacted          = "[redacted]"
)

// Keys and environment variables from which CredentialsFrom reads.
const (
	CredentialsPrincipalKey     = "spark.mesos.principal"
	CredentialsPrincipalFileKey = "spark.mesos.principal.file"
	CredentialsPrincipalEnv     = "SPARK_MESOS_PRINCIPAL"
	CredentialsPrincipalFileEnv = "SPARK_MESOS_PRINCIPAL_FILE"
	CredentialsSecretKey        = "spark.mesos.secret"
	CredentialsSecretFileKey    = "spark.mesos.secret.file"
	CredentialsSecretEnv        = "SPARK_MESOS_SECRET"
	CredentialsSecretFileEnv    = "SPARK_MESOS_SECRET_FILE"
)

// Credentials are a principal and, if the master asks for it, its secret,
// sent as HTTP basic authentication. However they are printed, logged or
// encoded, the secret is left out.
type Credentials struct {
	principal string
	secret    string
}

// NewCredentials checks and keeps principal and secret; the secret may be "",
// which tells Mesos who the framework is without proving it. The principal may
// not be empty or hold ':' (basic authentication ends it there), and neither
// may hold control characters. Errors wrap ErrCredentials.
func NewCredentials(principal, secret string) (*Credentials, error) {
	switch {
	case principal == "" && secret != "":
		return nil, fmt.Errorf("%w: %s must be configured when %s is set", ErrCredentials, CredentialsPrincipalKey, CredentialsSecretKey)
	case principal == "":
		return nil, fmt.Errorf("%w: the principal is empty", ErrCredentials)
	case strings.Contains(principal, ":"):
		return nil, fmt.Errorf("%w: the principal holds ':', which HTTP basic authentication cannot carry", ErrCredentials)
	case !utf8.ValidString(principal), strings.ContainsFunc(principal, unicode.IsControl):
		return nil, fmt.Errorf("%w: the principal is not plain UTF-8 text", ErrCredentials)
	case !utf8.ValidString(secret), strings.ContainsFunc(secret, unicode.IsControl):
		return nil, fmt.Errorf("%w: the secret is not plain UTF-8 text", ErrCredentials)
	}
	return &Credentials{principal: principal, secret: secret}, nil
}

// CredentialsFrom finds the credentials as Spark does: the principal is the
// first that exists of the key spark.mesos.principal, the variable
// SPARK_MESOS_PRINCIPAL, the file named by spark.mesos.principal.file and the
// file named by SPARK_MESOS_PRINCIPAL_FILE; the secret likewise. It returns
// nil when there are none.
//
// One newline at the end of a file is dropped; Spark makes it part of the
// value, which no master accepts. An empty value counts as not given, an
// empty file is an error. conf and env report a value and whether it is there
// (os.LookupEnv is an env). Errors wrap ErrCredentials.
func CredentialsFrom(conf, env func(string) (string, bool)) (*Credentials, error) {
	principal, err := credentialValue(conf, env, CredentialsPrincipalKey, CredentialsPrincipalEnv, CredentialsPrincipalFileKey, CredentialsPrincipalFileEnv)
	if err != nil {
		return nil, err
	}
	secret, err := credentialValue(conf, env, CredentialsSecretKey, CredentialsSecretEnv, CredentialsSecretFileKey, CredentialsSecretFileEnv)
	if err != nil {
		return nil, err
	}
	if principal == "" && secret == "" {
		return nil, nil
	}
	return NewCredentials(principal, secret)
}

func credentialValue(conf, env func(string) (string, bool), key, variable, fileKey, fileVariable string) (string, error) {
	if v, ok := conf(key); ok && v != "" {
		return v, nil
	}
	if v, ok := env(variable); ok && v != "" {
		return v, nil
	}
	if path, ok := conf(fileKey); ok && path != "" {
		return credentialFile(fileKey, path)
	}
	if path, ok := env(fileVariable); ok && path != "" {
		return credentialFile(fileVariable, path)
	}
	return "", nil
}

func credentialFile(setting, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrCredentials, setting, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxCredentialFile+1))
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrCredentials, setting, err)
	}
	if len(raw) > maxCredentialFile {
		return "", fmt.Errorf("%w: %s: %s has more than %d bytes", ErrCredentials, setting, path, maxCredentialFile)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if value == "" {
		return "", fmt.Errorf("%w: %s: %s is empty", ErrCredentials, setting, path)
	}
	return value, nil
}

// Principal is the name to authenticate as; "" for nil.
func (c *Credentials) Principal() string {
	if c == nil {
		return ""
	}
	return c.principal
}

// Secret is the secret in the clear, for a task that needs it; "" for nil.
func (c *Credentials) Secret() string {
	if c == nil {
		return ""
	}
	return c.secret
}

// String names the principal only.
func (c Credentials) String() string { return c.principal + ":" + redacted }

// Format keeps every verb of fmt from printing the secret.
func (c Credentials) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, c.String()) }

// LogValue keeps slog from printing the secret.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText keeps encoders from writing the secret.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
