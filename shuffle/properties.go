package shuffle

import (
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
)

// secretEnv is where Spark's own launchers put the secret.
const secretEnv = "_SPARK_AUTH_SECRET"

// FromProperties reads Spark's settings, and those of this service that Spark
// does not have, over [DefaultConfig]. Keys that do not concern the service are
// ignored, since the file is usually spark-defaults.conf. All bad values are
// reported at once, each with its key. The errors wrap [ErrConfig].
func FromProperties(props map[string]string) (Config, error) {
	c := DefaultConfig()
	p := properties{values: props}
	if port := p.int("spark.shuffle.service.port", 7337, 0, math.MaxUint16); p.has("spark.shuffle.service.port") {
		c.Addr = net.JoinHostPort("", strconv.Itoa(port))
	}
	network := p.duration("spark.network.timeout", c.IdleTimeout, time.Second)
	c.IdleTimeout = p.duration("spark.shuffle.io.connectionTimeout", network, time.Second)
	c.AuthTimeout = p.duration("spark.network.auth.rpcTimeout", p.duration("spark.shuffle.sasl.timeout", c.AuthTimeout, time.Second), time.Second)
	c.CleanerInterval = p.duration("spark.shuffle.cleaner.interval", c.CleanerInterval, time.Second)
	c.IndexCacheBytes = p.size("spark.shuffle.service.index.cache.size", c.IndexCacheBytes, 1)
	c.MaxChunksInFlight = p.int64("spark.shuffle.maxChunksBeingTransferred", 0, 1)
	if c.MaxChunksInFlight == math.MaxInt64 { // Spark's way to say "no bound"
		c.MaxChunksInFlight = 0
	}
	c.ReceiveBuffer = int(p.size("spark.shuffle.io.receiveBuffer", 0, 1))
	c.SendBuffer = int(p.size("spark.shuffle.io.sendBuffer", 0, 1))
	p.extensions(&c)
	c.Auth = p.auth()
	if len(p.problems) > 0 {
		slices.Sort(p.problems)
		return c, fmt.Errorf("%w: %s", ErrConfig, strings.Join(p.problems, "; "))
	}
	return c, nil
}

// extensions are the keys that only this service has.
func (p *properties) extensions(c *Config) {
	c.OrphanTimeout = p.duration("spark.shuffle.service.orphan.timeout", c.OrphanTimeout, time.Second)
	c.OrphanUnregistered = p.bool("spark.shuffle.service.orphan.unregistered", false)
	c.AllowedDirs = p.list("spark.shuffle.service.allowedDirs")
	c.OpenFiles = p.int("spark.shuffle.service.openFiles", c.OpenFiles, 1, 1<<20)
	c.SendfileBytes = p.size("spark.shuffle.service.sendfile.minSize", c.SendfileBytes, 1)
	c.MaxConnections = p.int("spark.shuffle.service.maxConnections", c.MaxConnections, 1, 1<<20)
	c.MaxRequestBytes = p.size("spark.shuffle.service.maxRequestSize", c.MaxRequestBytes, 1)
	c.MaxOpenChunks = p.int64("spark.shuffle.service.maxOpenChunks", c.MaxOpenChunks, 1)
	c.MemoryBytes = p.size("spark.shuffle.service.requestMemory", c.MemoryBytes, 1)
	c.RegistrationBytes = p.size("spark.shuffle.service.registrations.maxSize", c.RegistrationBytes, 1)
	c.AccessLogEvery = p.int("spark.shuffle.service.accessLog.every", c.AccessLogEvery, 0, math.MaxInt32)
}

func (p *properties) auth() *auth.Config {
	if !p.bool("spark.authenticate", false) {
		return nil
	}
	c := &auth.Config{
		Crypto:            p.bool("spark.network.crypto.enabled", false),
		SASLFallback:      p.bool("spark.network.crypto.saslFallback", true),
		Legacy:            p.bool("spark.shuffle.service.auth.legacy", true),
		Cipher:            p.string("spark.network.crypto.cipher", auth.AESCTR),
		EngineVersion:     p.int("spark.network.crypto.authEngineVersion", 1, 1, 2),
		AlwaysEncrypt:     p.bool("spark.network.sasl.serverAlwaysEncrypt", false),
		MaxEncryptedBlock: int(p.size("spark.network.sasl.maxEncryptedBlockSize", 64<<10, 1)),
	}
	var err error
	if c.Secrets, err = p.secrets(); err != nil {
		p.problem("%v", err)
	} else if err := c.Validate(); err != nil {
		p.problem("%v", err)
	}
	return c
}

// secrets combines a secret for all applications with a file of secrets for
// single ones, which win.
func (p *properties) secrets() (auth.Secrets, error) {
	common := p.string("spark.authenticate.secret", os.Getenv(secretEnv))
	if file := p.string("spark.authenticate.secret.file", ""); file != "" && common == "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("spark.authenticate.secret.file: %w", err)
		}
		common = sparkFileSecret(raw)
	}
	file := p.string("spark.shuffle.service.secretsFile", "")
	switch {
	case file != "":
		s, err := newSecretsFile(file, common)
		if err != nil {
			return nil, fmt.Errorf("spark.shuffle.service.secretsFile: %w", err)
		}
		return s.lookup, nil
	case common == "":
		return nil, fmt.Errorf("spark.authenticate is on but there is no secret: set spark.authenticate.secret, "+
			"spark.authenticate.secret.file, spark.shuffle.service.secretsFile or the environment variable %s", secretEnv)
	}
	return func(string) (string, bool) { return common, true }, nil
}

// properties reads typed values and collects what is wrong with them.
type properties struct {
	values   map[string]string
	problems []string
}

func (p *properties) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *properties) has(key string) bool { return strings.TrimSpace(p.values[key]) != "" }

func (p *properties) string(key, def string) string {
	if !p.has(key) {
		return def
	}
	return strings.TrimSpace(p.values[key])
}

func (p *properties) list(key string) []string {
	var out []string
	for s := range strings.SplitSeq(p.values[key], ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (p *properties) bool(key string, def bool) bool {
	switch v := p.string(key, strconv.FormatBool(def)); strings.ToLower(v) {
	case "true":
		return true
	case "false":
		return false
	default:
		p.problem("%s is %q, must be true or false", key, v)
		return def
	}
}

func (p *properties) int(key string, def, low, high int) int {
	v := p.string(key, strconv.Itoa(def))
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		p.problem("%s is %q, must be a whole number from %d to %d", key, v, low, high)
		return def
	}
	return n
}

func (p *properties) int64(key string, def, low int64) int64 {
	if !p.has(key) {
		return def
	}
	n, err := strconv.ParseInt(p.string(key, ""), 10, 64)
	if err != nil || n < low {
		p.problem("%s is %q, must be a whole number from %d", key, p.string(key, ""), low)
		return def
	}
	return n
}

var withUnit = regexp.MustCompile(`^([0-9]+)\s*([a-z]*)$`)

// Spark's suffixes (JavaUtils.timeSuffixes and byteSuffixes).
var (
	timeUnits = map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"m": time.Minute, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	sizeUnits = map[string]int64{"b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30,
		"t": 1 << 40, "tb": 1 << 40, "p": 1 << 50, "pb": 1 << 50}
)

// duration reads Spark's time strings; bare numbers are in bare.
func (p *properties) duration(key string, def, bare time.Duration) time.Duration {
	n := quantity(p, key, int64(def), int64(bare), timeUnits)
	return time.Duration(n)
}

// size reads Spark's memory strings; bare numbers are in bare.
func (p *properties) size(key string, def, bare int64) int64 {
	return quantity(p, key, def, bare, sizeUnits)
}

func quantity[T ~int64](p *properties, key string, def, bare int64, units map[string]T) int64 {
	if !p.has(key) {
		return def
	}
	v := strings.ToLower(p.string(key, ""))
	m := withUnit.FindStringSubmatch(v)
	if m != nil {
		unit, ok := units[m[2]]
		if m[2] == "" {
			unit, ok = T(bare), true
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if ok && err == nil && n > 0 && n <= math.MaxInt64/int64(unit) {
			return n * int64(unit)
		}
	}
	p.problem("%s is %q, must be a positive whole number, with one of the units %s if any",
		key, v, strings.Join(slices.Sorted(maps.Keys(units)), " "))
	return def
}
