// Package types holds what travels, with the fields and the JSON of wire protocol 1.
package types

// Log is one line of a run's log.
type Log struct {
	RunID     string `json:"runid"`
	Driver    string `json:"driver"`
	Pipeline  string `json:"pipeline"`
	Timestamp string `json:"timestamp"`
	Message   string `json:"message"`
}

// DriverMessage goes from the engine to a driver.
type DriverMessage struct {
	Event   string `json:"event"`
	Payload string `json:"payload"`
	ID      string `json:"id"`
	RunID   string `json:"run_id"`
}

// DriverResult is what a driver says.
type DriverResult struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
	Data    any    `json:"data"`
}

// DriverResultEvent is the same, with who says it.
type DriverResultEvent struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
	Data    any    `json:"data"`
	Driver  string `json:"driver"`
}

// PipelineEvent goes from a driver to the engine.
type PipelineEvent struct {
	Event        string            `json:"event"`
	RunID        string            `json:"run_id"`
	Resource     Resource          `json:"resource"`
	DriverResult DriverResultEvent `json:"driverresult"`
}

// Resource is what drivers act on. Its metadata takes nothing but texts.
type Resource struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Pipeline string            `json:"pipeline,omitempty"`
	Resource string            `json:"resource"`
	Metadata map[string]string `json:"metadata"`
	Spec     any               `json:"spec"`
}

// ResourceDefinition is a type of resources.
type ResourceDefinition struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Version     string `json:"version"`
	Schema      any    `json:"schema"`
}

// APIResponse is as much of an answer as the client reads.
type APIResponse struct {
	Name  string `json:"name"`
	RunID string `json:"runid"`
}
