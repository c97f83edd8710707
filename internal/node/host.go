package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/backend/host"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/registrar"
)

const (
	keyAppFailover = "spark.mesos.dispatcher.app.failoverTimeout" // ours
	keyAppMax      = "spark.mesos.dispatcher.app.max"
	keyAppUsers    = "spark.mesos.dispatcher.app.users"
	keyHome        = "spark.mesos.executor.home"
)

// newHost makes what hosts applications in client mode.
func (n *Node) newHost() (*host.Host, error) {
	c := &n.cfg
	failover, err := c.Spark.Time(keyAppFailover, time.Second, backend.DefaultFailoverTimeout)
	most, wrong := c.Spark.Int(keyAppMax, 0)
	if err = errors.Join(err, wrong); err != nil {
		return nil, err
	}
	if failover < host.MinFailoverTimeout || failover > host.MaxFailoverTimeout {
		return nil, fmt.Errorf("%s must lie between %v and %v", keyAppFailover, host.MinFailoverTimeout, host.MaxFailoverTimeout)
	}
	home, _ := c.env("SPARK_HOME")
	hc := host.Config{
		State: n.state, Log: n.store, NewMesos: c.appMesos,
		User: c.User, Users: c.Spark.List(keyAppUsers), Role: c.Spark.Text(keyRole, ""), SparkHome: c.Spark.Text(keyHome, home),
		FailoverTimeout: failover, MaxApplications: int(most), CommandSet: n.commandSet,
		Shuffle: func(properties map[string]string) (backend.ShuffleRegistrar, error) {
			r, err := registrar.FromProperties(properties)
			if err != nil {
				return nil, err
			}
			return r, nil
		},
		Logger: c.Logger.With("part", "host"), Registerer: c.Registry,
	}
	if c.TuneHost != nil {
		c.TuneHost(&hc)
	}
	return host.New(hc)
}

// appMesos makes the scheduler driver of an application. One without credentials of
// its own takes the cluster's.
func (c *Config) appMesos(f mesosutil.DriverFramework, credentials *mesosutil.Credentials, gate func(context.Context) error) (backend.Mesos, error) {
	if credentials == nil {
		var err error
		if credentials, err = mesosutil.CredentialsFrom(c.Spark.Lookup, c.env); err != nil {
			return nil, err
		}
	}
	info, err := f.Info()
	if err != nil {
		return nil, err
	}
	d, err := c.newDriver(info, credentials, gate)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// commandSet is the lowest that the members know: as last heard of each, or as it
// announced itself. Without the latter a node that starts while another one is
// down would take that for an old one.
func (n *Node) commandSet() uint32 {
	lowest := uint32(commandVersion)
	for _, m := range n.store.Status().Members {
		version := m.Version
		if announced, found := n.state.Node(m.ID); found {
			version = cmp.Or(version, announced.CommandVersion)
		}
		lowest = min(lowest, max(version, 1))
	}
	return lowest
}
