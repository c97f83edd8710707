package host

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

func TestWhatCannotBeRegistered(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Users = []string{"ann"}
		c.Shuffle = func(map[string]string) (backend.ShuffleRegistrar, error) { return nil, errors.New("no secret") }
	})
	for _, c := range []struct {
		field string
		app   func() Application
	}{
		{"id", func() Application { return app("a/b") }},
		{"id", func() Application { return app(".") }},
		{"id", func() Application { return app(strings.Repeat("a", 201)) }},
		{"name", func() Application { a := app("a"); a.Name = " "; return a }},
		{"driverUrl", func() Application { a := app("a"); a.DriverURL = ""; return a }},
		{"driverUrl", func() Application { a := app("a"); a.DriverURL = "http://h:1"; return a }},
		{"user", func() Application { a := app("a"); a.User = "root"; return a }},
		{"user", func() Application { a := app("a"); a.User = "a b"; return a }},
		{"application", func() Application { a := app("a"); a.SparkHome = "/\x00"; return a }},
		{"application", func() Application { a := app("a"); a.Name = "\xff"; return a }},
		{"properties", func() Application { return app("a", "hive.x", "y") }},
		{"properties", func() Application { return app("a", "spark.x", strings.Repeat("y", MaxSpecification)) }},
		{"failoverTimeoutMs", func() Application { a := app("a"); a.FailoverTimeout = time.Millisecond; return a }},
		{"spark.mesos.driver.failoverTimeout", func() Application { return app("a", "spark.mesos.driver.failoverTimeout", "0.5") }},
		{"spark.mesos.driver.failoverTimeout", func() Application { return app("a", "spark.mesos.driver.failoverTimeout", "-1") }},
		{"spark.mesos.driver.failoverTimeout", func() Application { return app("a", "spark.mesos.driver.failoverTimeout", "NaN") }},
		{"spark.mesos.driver.failoverTimeout", func() Application { return app("a", "spark.mesos.driver.failoverTimeout", "1e300") }},
		{"spark.mesos.secret.file", func() Application { return app("a", "spark.mesos.secret.file", "/etc/shadow") }},
		{"spark.authenticate.secret.file", func() Application { return app("a", "spark.authenticate.secret.file", "/etc/shadow") }},
		{"spark.mesos.principal", func() Application { return app("a", "spark.mesos.secret", "s3cret") }},
		{"spark.io.encryption.enabled", func() Application { return app("a", "spark.io.encryption.enabled", "true") }},
		{"spark.mesos.coarse", func() Application { return app("a", "spark.mesos.coarse", "false") }},
		{"spark.cores.max", func() Application { return app("a", "spark.cores.max", "-3") }},
		{"spark.executor.memory", func() Application { return app("a", "spark.executor.memory", "lots") }},
		{"spark.mesos.constraints", func() Application { return app("a", "spark.mesos.constraints", "::;") }},
		{"spark.mesos.gpus.max", func() Application { return app("a", "spark.mesos.gpus.max", "few") }},
		{"spark.shuffle.service.enabled", func() Application { return app("a", "spark.shuffle.service.enabled", "true") }},
	} {
		_, err := f.Register(t.Context(), c.app(), Request{})
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Field != c.field || invalid.Reason == "" {
			t.Errorf("%s: %v", c.field, err)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a secret in %v", err)
		}
	}
	if f.log.proposed != 0 {
		t.Errorf("%d entries in the log", f.log.proposed)
	}
	_, err := f.Register(t.Context(), app("a", "spark.cores.max", "-3", "spark.executor.memory", "lots"), Request{})
	if err == nil || !strings.Contains(err.Error(), "spark.cores.max") || !strings.Contains(err.Error(), "spark.executor.memory") {
		t.Errorf("all that is wrong is to be told: %v", err)
	}
}

func TestASecretIsInNoError(t *testing.T) {
	const secret = "s3cret"
	f := newFixture(t, nil)
	for _, key := range []string{
		"spark.mesos.executor.secret.values", "spark.mesos.executor.secret.names", "spark.mesos.executor.secret.envkeys",
		"spark.mesos.secret", "spark.authenticate.secret", "spark.ssl.keyPassword",
	} {
		_, err := f.Register(t.Context(), app("a-"+strings.ReplaceAll(key, ".", "-"), key, secret+",", "spark.cores.max", "x"), Request{})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestWhatAnApplicationLeavesOpen(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Users = []string{"ann"}; c.FailoverTimeout = time.Hour })
	for _, c := range []struct {
		name    string
		change  func(*Application)
		user    string
		home    string
		timeout time.Duration
	}{
		{"nothing said", func(*Application) {}, "spark", "/opt/cluster-spark", time.Hour},
		{"all said", func(a *Application) { a.User, a.SparkHome, a.FailoverTimeout = "ann", "/mine", time.Minute }, "ann", "/mine", time.Minute},
		{"an image", func(a *Application) { a.Properties["spark.mesos.executor.docker.image"] = "spark:3.5" }, "spark", ImageSparkHome, time.Hour},
		{"a property", func(a *Application) { a.Properties["spark.mesos.driver.failoverTimeout"] = "90.5" }, "spark", "/opt/cluster-spark", 90500 * time.Millisecond},
		{"Spark's own default", func(a *Application) { a.Properties["spark.mesos.driver.failoverTimeout"] = "0.0" }, "spark", "/opt/cluster-spark", time.Hour},
	} {
		a := app("a")
		c.change(&a)
		s, err := f.cfg.settle(&a)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if s.user != c.user || s.timeout != c.timeout || s.backend.Context.SparkHome != c.home {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

func TestASpecificationIsTheSameBytesForTheSameContent(t *testing.T) {
	make1 := func() Application {
		a := app("id", "spark.b", "2", "spark.a", "1", "spark.c", "ü<>&")
		a.User, a.WebUIURL, a.SparkHome, a.SparkVersion, a.FailoverTimeout = "u", "w", "h", "3.5.1", time.Minute
		return a
	}
	one, two := make1(), make1()
	first, err := one.encode()
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := two.encode(); !bytes.Equal(first, second) {
		t.Errorf("%s, %s", first, second)
	}
	back, err := decode(&fsm.App{ID: "id", Spec: first})
	if err != nil || back.ID != "id" {
		t.Fatal(back, err)
	}
	if again, _ := back.encode(); !bytes.Equal(first, again) {
		t.Errorf("%s, %s", first, again)
	}
}

func FuzzSettle(f *testing.F) {
	f.Add("name", "spark://a@b:1", "/home", "user", "spark.cores.max", "4")
	f.Add("", "x", "\x00", "root", "spark.mesos.constraints", "a:b;c")
	cfg := Config{User: "user", FailoverTimeout: time.Minute}
	f.Fuzz(func(t *testing.T, name, url, home, user, key, value string) {
		a := Application{Name: name, DriverURL: url, SparkHome: home, User: user, Properties: map[string]string{key: value}}
		s, err := cfg.settle(&a)
		var invalid *InvalidError
		if err != nil && !errors.As(err, &invalid) {
			t.Fatalf("%v", err)
		}
		if err != nil {
			return
		}
		spec, err := a.encode()
		if err != nil {
			return
		}
		back, err := decode(&fsm.App{Spec: spec})
		if err != nil || back.Name != a.Name || back.Properties[key] != value || s.timeout < MinFailoverTimeout {
			t.Fatalf("%+v, %v", back, err)
		}
	})
}
