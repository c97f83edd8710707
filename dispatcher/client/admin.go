package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// What operators may ask for, as the last part of the path.
const (
	changeJoin     = "join"
	changeRemove   = "remove"
	changeTransfer = "transfer"
	changeReset    = "reset-framework"
)

// Join takes a node into the cluster; it returns when the node has caught up.
// Asking again is harmless.
func (c *Client) Join(ctx context.Context, id, raftAddr string, voter bool) (*api.Cluster, error) {
	return c.clusterChange(ctx, changeJoin, api.ClusterChange{ID: id, Raft: raftAddr, NonVoter: !voter})
}

// Remove takes a node out of the cluster.
func (c *Client) Remove(ctx context.Context, id string) (*api.Cluster, error) {
	return c.clusterChange(ctx, changeRemove, api.ClusterChange{ID: id})
}

// Transfer hands leadership to another node; to empty: whoever is best placed.
func (c *Client) Transfer(ctx context.Context, to string) (*api.Cluster, error) {
	return c.clusterChange(ctx, changeTransfer, api.ClusterChange{To: to})
}

// ResetFramework allows a new framework id after Mesos has removed the old one.
func (c *Client) ResetFramework(ctx context.Context) (*api.Cluster, error) {
	return c.clusterChange(ctx, changeReset, api.ClusterChange{})
}

func (c *Client) clusterChange(ctx context.Context, what string, change api.ClusterChange) (*api.Cluster, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	a, err := c.do(ctx, &request{method: http.MethodPost, path: "/v1/cluster/" + what, body: body})
	if err != nil {
		return nil, err
	}
	out := new(api.Cluster)
	return out, a.decode(out)
}

// snapshotLimit bounds one transfer of a snapshot.
const snapshotLimit = time.Hour

// SaveSnapshot writes an archive of the whole state to w. On an error what was
// written is not whole.
func (c *Client) SaveSnapshot(ctx context.Context, w io.Writer) error {
	return c.transferSnapshot(ctx, http.MethodGet, "/v1/cluster/snapshot", nil, w)
}

// RestoreSnapshot replaces the whole state by an archive. Every driver that is
// not in it is forgotten; tasks of such drivers go on in Mesos.
func (c *Client) RestoreSnapshot(ctx context.Context, r io.Reader) error {
	return c.transferSnapshot(ctx, http.MethodPost, "/v1/cluster/restore", r, io.Discard)
}

// transferSnapshot asks the leader, since only it can restore, and does not try
// again: the reader may be used up.
func (c *Client) transferSnapshot(ctx context.Context, method, path string, in io.Reader, out io.Writer) error {
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return err
	}
	server := ""
	for _, n := range cluster.Nodes {
		if n.ID == cluster.Leader {
			server = n.REST
		}
	}
	if server == "" {
		return fmt.Errorf("%w: no leader is known", ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, server+path, in)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	reply, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
		return apiError(server, reply.StatusCode, body)
	}
	if _, err := io.Copy(out, reply.Body); err != nil {
		return fmt.Errorf("%s: the archive was cut short: %w", server, err)
	}
	return nil
}
