package registrar

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// maxSecretFile bounds what is read of a secret's file.
const maxSecretFile = 1 << 20

// FromProperties makes a Registrar of an application's spark.* properties:
// spark.authenticate, spark.authenticate.secret,
// spark.authenticate.secret.file (and .driver.file, which counts before it, as in
// Spark), spark.authenticate.enableSaslEncryption, spark.network.crypto.enabled,
// .saslFallback, .cipher and .authEngineVersion, spark.network.auth.rpcTimeout.
// No error holds the secret.
func FromProperties(properties map[string]string) (*Registrar, error) {
	conf := sparkconf.New(properties)
	on, err := conf.Bool("spark.authenticate", false)
	cfg := Config{}
	errs := []error{err}
	read := func(to *bool, key string, def bool) {
		var err error
		*to, err = conf.Bool(key, def)
		errs = append(errs, err)
	}
	cfg.Timeout, err = conf.Time("spark.network.auth.rpcTimeout", time.Second, 30*time.Second)
	errs = append(errs, err)
	if on {
		read(&cfg.Crypto, "spark.network.crypto.enabled", false)
		read(&cfg.SASLFallback, "spark.network.crypto.saslFallback", true)
		read(&cfg.Encrypt, "spark.authenticate.enableSaslEncryption", false)
		version, err := conf.Int("spark.network.crypto.authEngineVersion", 1)
		errs = append(errs, err)
		cfg.EngineVersion, cfg.Cipher = int(version), conf.Text("spark.network.crypto.cipher", "")
		cfg.Secret, err = secret(conf)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return New(cfg)
}

// secret is the application's: given, or in a file, of which Spark takes the
// Base64.
func secret(conf sparkconf.Conf) (string, error) {
	if text, set := conf.Lookup("spark.authenticate.secret"); set {
		if text == "" {
			return "", errors.New("spark.authenticate.secret is empty")
		}
		return text, nil
	}
	for _, key := range []string{"spark.authenticate.secret.driver.file", "spark.authenticate.secret.file"} {
		path, set := conf.Lookup(key)
		if !set {
			continue
		}
		raw, err := readSecret(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
		return base64.StdEncoding.EncodeToString(raw), nil
	}
	return "", errors.New("spark.authenticate is on but there is no secret: set spark.authenticate.secret or spark.authenticate.secret.file")
}

func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) == 0:
		return nil, errors.New("the file is empty")
	case len(raw) > maxSecretFile:
		return nil, fmt.Errorf("the file is larger than %d bytes", maxSecretFile)
	}
	return raw, nil
}
