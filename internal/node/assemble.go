package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkmaster"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

const (
	keyWebUIURL = "spark.mesos.dispatcher.webui.url"
	keyRole     = "spark.mesos.role"
	keyGPUs     = "spark.mesos.gpus.max"
	keyFailover = "spark.mesos.dispatcher.failoverTimeout" // ours
	keySecret   = "spark.authenticate.secret"
	// upstreamFailover is the failover timeout that upstream asks for: 68 years.
	// Mesos ends the drivers of a framework that stays away for longer.
	upstreamFailover = 2147483647 * time.Second
)

// dispatcherConfig makes the dispatcher's settings of the properties. Every
// wrong value is reported, not only the first.
func (c *Config) dispatcherConfig() (dispatcher.Config, error) {
	if _, set := c.Spark.Lookup(keySecret); set {
		return dispatcher.Config{}, errSecretSet
	}
	wrong := c.checkProperties()
	dc, err := dispatcher.ConfigOf(c.Spark)
	wrong = append(wrong, err, c.uiConfig().Validate())
	master := c.Spark.With(map[string]string{"spark.master": c.Master})
	home, _ := c.env("SPARK_HOME")
	dc.Launch, err = launch.ParseDispatcherConf(master, home)
	dc.Logger, dc.Registerer, dc.Failpoint, dc.NewMesos = c.Logger, c.Registry, c.Failpoint, c.NewMesos
	return dc, onePerKey(append(wrong, err))
}

func (c *Config) env(name string) (string, bool) {
	if c.Env != nil {
		return c.Env(name)
	}
	return os.LookupEnv(name)
}

// mesosFactory makes the scheduler driver of one leadership.
func (c *Config) mesosFactory(webURL string) dispatcher.MesosFactory {
	return func(frameworkID string, gate func(context.Context) error) (dispatcher.Mesos, error) {
		credentials, err := mesosutil.CredentialsFrom(c.Spark.Lookup, c.env)
		if err != nil {
			return nil, err
		}
		framework, err := c.framework(frameworkID, webURL)
		if err != nil {
			return nil, err
		}
		info, err := framework.Info()
		if err != nil {
			return nil, err
		}
		return c.newDriver(info, credentials, gate)
	}
}

func (c *Config) newDriver(info *mesos.FrameworkInfo, credentials *mesosutil.Credentials, gate func(context.Context) error) (*mesosutil.Driver, error) {
	secure, err := c.MesosTLS()
	if err != nil {
		return nil, err
	}
	dc := mesosutil.DriverConfig{
		Framework: info, Credentials: credentials, Gate: gate, TLS: secure,
		Logger: c.Logger, Registerer: c.Registry,
	}
	if dc.Master, dc.Detector, err = c.masters(secure != nil); err != nil {
		return nil, err
	}
	if c.TuneMesos != nil {
		c.TuneMesos(&dc)
	}
	return mesosutil.NewDriver(dc)
}

// masters is where to look for the leading Mesos master: a list of masters, or
// their election in ZooKeeper.
func (c *Config) masters(https bool) (list string, _ mesosutil.MasterDetector, _ error) {
	m, err := mesosutil.ParseMaster(c.Master)
	if err != nil || !m.ZooKeeper {
		return c.Master, nil, err
	}
	d, err := zkmaster.New(m, zkmaster.Options{Logger: c.Logger, HTTPS: https})
	if err != nil {
		return "", nil, err
	}
	return "", d, nil
}

// masterText is the Mesos master without the password that a zk:// URL may hold.
func (c *Config) masterText() string {
	m, err := mesosutil.ParseMaster(c.Master)
	if err != nil {
		return "the Mesos master"
	}
	return m.String()
}

func (c *Config) framework(id, webURL string) (mesosutil.DriverFramework, error) {
	gpus, err := c.Spark.Int(keyGPUs, 0)
	if err != nil {
		return mesosutil.DriverFramework{}, err
	}
	failover, err := c.Spark.Time(keyFailover, time.Second, upstreamFailover)
	if err != nil {
		return mesosutil.DriverFramework{}, err
	}
	f := mesosutil.DriverFramework{
		User: c.User, Name: c.Name, Hostname: c.PublicHost, WebUIURL: c.Spark.Text(keyWebUIURL, webURL),
		ID: id, Checkpoint: true, FailoverTimeout: failover, GPUs: gpus > 0,
	}
	if role := c.Spark.Text(keyRole, ""); role != "" {
		f.Roles = []string{role}
	}
	return f, nil
}

// restDispatcher is the service, and the log for operators, as the REST server
// wants them.
type restDispatcher struct {
	*dispatcher.Service
	store *raftstore.Store
}

func (r restDispatcher) Join(ctx context.Context, id, raftAddr string, voter bool) error {
	return r.store.Join(ctx, raftstore.Peer{ID: id, Addr: raftAddr}, voter)
}

func (r restDispatcher) Remove(ctx context.Context, id string) error {
	if err := r.store.Remove(ctx, id); err != nil {
		return err
	}
	return r.Forget(ctx, id)
}

func (r restDispatcher) Transfer(ctx context.Context, to string) error {
	return r.store.Transfer(ctx, to)
}

func (r restDispatcher) SaveSnapshot(ctx context.Context, w io.Writer) error {
	return r.store.SaveSnapshot(ctx, w)
}

func (r restDispatcher) RestoreSnapshot(ctx context.Context, in io.Reader) error {
	return r.store.RestoreSnapshot(ctx, in)
}

// Describe decodes a specification and hides its secrets.
func (r restDispatcher) Describe(d *fsm.Driver) (rest.Description, error) {
	desc, err := r.Description(d)
	if err != nil {
		return rest.Description{}, fmt.Errorf("describe: %w", err)
	}
	redact := func(pairs []launch.KV) map[string]string {
		m := make(map[string]string, len(pairs))
		for _, p := range pairs {
			m[p.Key] = sparkconf.RedactURL(sparkconf.RedactValue(r.Redaction(), p.Key, p.Value))
		}
		return m
	}
	return rest.Description{
		AppResource: sparkconf.RedactURL(desc.AppResource), Args: sparkconf.RedactWords(r.Redaction(), desc.Args),
		Properties: redact(desc.Properties), Environment: redact(desc.Environment),
	}, nil
}
