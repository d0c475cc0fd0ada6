package driverruntime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/open-ug/conveyor/pkg/types"
)

// Client calls the API.
type Client struct {
	api, nats string
}

// ConfigOptions would say who we are; here nobody asks.
type ConfigOptions struct{}

// NewClient is a client of the API and NATS at these addresses.
func NewClient(api string, nats string, _ ConfigOptions) (*Client, error) {
	return &Client{api, nats}, nil
}

// call fails for a status above 399, and for every body that is not JSON.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	if body == nil {
		text = nil
	}
	request, err := http.NewRequestWithContext(ctx, method, c.api+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode > 399 {
		return nil, fmt.Errorf("%s %s: %d: %s", method, path, response.StatusCode, answer)
	}
	var value T
	return &value, json.Unmarshal(answer, &value)
}

// CreateResource creates a resource.
func (c *Client) CreateResource(ctx context.Context, r *types.Resource) (*types.APIResponse, error) {
	return call[types.APIResponse](ctx, c, http.MethodPost, "/resources/", r)
}

// GetResource reads a resource.
func (c *Client) GetResource(ctx context.Context, name, kind string) (*types.Resource, error) {
	return call[types.Resource](ctx, c, http.MethodGet, "/resources/"+kind+"/"+name, nil)
}

// UpdateResource replaces a resource.
func (c *Client) UpdateResource(ctx context.Context, r *types.Resource) (*types.Resource, error) {
	return call[types.Resource](ctx, c, http.MethodPut, "/resources/"+r.Resource+"/"+r.Name, r)
}

// DeleteResource deletes a resource.
func (c *Client) DeleteResource(ctx context.Context, name, kind string) (*types.APIResponse, error) {
	return call[types.APIResponse](ctx, c, http.MethodDelete, "/resources/"+kind+"/"+name, nil)
}

// CreateResourceDefinition creates a definition.
func (c *Client) CreateResourceDefinition(
	ctx context.Context, d *types.ResourceDefinition,
) (*types.ResourceDefinition, error) {
	return call[types.ResourceDefinition](ctx, c, http.MethodPost, "/resource-definitions/", d)
}

// CreateOrUpdateResourceDefinition applies a definition.
func (c *Client) CreateOrUpdateResourceDefinition(
	ctx context.Context, d *types.ResourceDefinition,
) (*types.ResourceDefinition, error) {
	return call[types.ResourceDefinition](ctx, c, http.MethodPost, "/resource-definitions/apply", d)
}

// GetResourceDefinition reads a definition.
func (c *Client) GetResourceDefinition(ctx context.Context, name string) (*types.ResourceDefinition, error) {
	return call[types.ResourceDefinition](ctx, c, http.MethodGet, "/resource-definitions/"+name, nil)
}

// UpdateResourceDefinition replaces a definition.
func (c *Client) UpdateResourceDefinition(
	ctx context.Context, d *types.ResourceDefinition,
) (*types.ResourceDefinition, error) {
	return call[types.ResourceDefinition](ctx, c, http.MethodPut, "/resource-definitions/"+d.Name, d)
}

// DeleteResourceDefinition deletes a definition.
func (c *Client) DeleteResourceDefinition(ctx context.Context, name string) (*types.APIResponse, error) {
	return call[types.APIResponse](ctx, c, http.MethodDelete, "/resource-definitions/"+name, nil)
}
