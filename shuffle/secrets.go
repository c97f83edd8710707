package shuffle

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// sparkFileSecret is what Spark makes of spark.authenticate.secret.file: the
// Base64 of the file's bytes.
func sparkFileSecret(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

// secretsFile maps applications to secrets, one "<application id> <secret>" a
// line, # starting a comment. It is read again when it has changed, so that
// secrets of new applications need no restart.
type secretsFile struct {
	path   string
	common string // for applications that the file does not name; may be empty

	mu      sync.Mutex
	stamp   fileStamp
	secrets map[string]string
}

type fileStamp struct {
	mtime time.Time
	size  int64
}

// maxSecretsFile bounds what is read of it.
const maxSecretsFile = 16 << 20

func newSecretsFile(path, common string) (*secretsFile, error) {
	s := &secretsFile{path: path, common: common}
	return s, s.refresh()
}

// lookup is an auth.Secrets.
func (s *secretsFile) lookup(appID string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.refresh() // a file that is damaged or gone keeps its last contents
	if secret, ok := s.secrets[appID]; ok {
		return secret, true
	}
	return s.common, s.common != ""
}

func (s *secretsFile) refresh() error {
	st, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	stamp := fileStamp{st.ModTime(), st.Size()}
	if stamp == s.stamp {
		return nil
	}
	if st.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s is accessible to everybody; chmod it to 600 or 640", s.path)
	}
	if st.Size() > maxSecretsFile {
		return fmt.Errorf("%s has %d bytes, the limit is %d", s.path, st.Size(), maxSecretsFile)
	}
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	secrets, err := parseSecrets(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.secrets, s.stamp = secrets, stamp
	return nil
}

func parseSecrets(raw []byte) (map[string]string, error) {
	out := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		case len(fields) != 2:
			return nil, fmt.Errorf("line %d is not \"<application id> <secret>\"", n) // never quote it: it may hold a secret
		default:
			out[fields[0]] = fields[1]
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errors.New("a line is too long")
	}
	return out, nil
}
