package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// Import takes over drivers of another dispatcher. Repeating it is harmless, so
// an outcome that got lost is asked for again.
//
// Errors: *APIError, with Status 409 where the cluster has another framework;
// ErrUnavailable. Drivers that were refused are no error: see their outcomes.
func (c *Client) Import(ctx context.Context, r api.ImportRequest) (*api.ImportResponse, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	a, err := c.do(ctx, &request{method: http.MethodPost, path: "/v1/admin/import", body: body, key: NewKey()})
	if err != nil {
		return nil, err
	}
	out := new(api.ImportResponse)
	return out, a.decode(out)
}
