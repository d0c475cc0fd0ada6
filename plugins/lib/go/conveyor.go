// Package conveyor is what a driver of Conveyor that is a component is written against. The driver's project has a copy of
// its own.
package conveyor

import (
	"encoding/json"
	"fmt"
)

// Request is one attempt of one step of one run. Run, step and attempt are the same whenever this attempt is delivered
// again: they are the key for effects that must not happen twice.
type Request[Spec any] struct {
	RunID   string
	Step    string
	Attempt uint32
	// Event is create, update or delete.
	Event    string
	Resource Resource[Spec]
	Context  Context
}

// Resource is what is acted on.
type Resource[Spec any] struct {
	ID   string
	Name string
	// Type is the name of its definition.
	Type    string
	Version string
	Spec    Spec
}

// Context is what the steps of a run share.
type Context struct {
	Pipeline string            `json:"pipeline"`
	Metadata map[string]string `json:"metadata"`
	// Results are those of earlier steps, by step id.
	Results map[string]StepResult `json:"results"`
	// Item is what a step of a matrix is about.
	Item json.RawMessage `json:"item"`
}

// StepResult is what an earlier step said.
type StepResult struct {
	Driver  string          `json:"driver"`
	Success bool            `json:"success"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

// Result is what a driver says of an attempt.
type Result struct {
	// Success is false if the driver did its work and the answer is no: that ends the run, with the message as the reason.
	Success bool
	// Message is one line for people.
	Message string
	// Data is for the steps that follow; it is written as JSON.
	Data any
}

// Success says that the driver achieved what it is for.
func Success(message string, data any) Result {
	return Result{Success: true, Message: message, Data: data}
}

// Failure says that the driver did its work, and that the answer is no.
func Failure(message string, data any) Result {
	return Result{Message: message, Data: data}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent says of an error that trying again cannot help: the spec makes no sense. After any other error the pipeline's
// policy says whether there is another try.
func Permanent(err error) error {
	return permanent{err}
}

// Log takes the lines of one attempt.
type Log struct{}

// Debug takes a line for the driver's author.
func (*Log) Debug(line string) { write(0, line) }

// Info takes a line about what happens.
func (*Log) Info(line string) { write(1, line) }

// Warn takes a line about what is odd.
func (*Log) Warn(line string) { write(2, line) }

// Error takes a line about what went wrong.
func (*Log) Error(line string) { write(3, line) }

// handler is what the host calls; its request has the spec and the context as they came, as JSON.
var handler func(request Request[[]byte], context []byte) (Result, error)

// Handle names the function that acts on resources. The program calls it in an init function: nothing calls main.
func Handle[Spec any](reconcile func(Request[Spec], *Log) (Result, error)) {
	handler = func(raw Request[[]byte], context []byte) (Result, error) {
		from := raw.Resource
		request := Request[Spec]{RunID: raw.RunID, Step: raw.Step, Attempt: raw.Attempt, Event: raw.Event}
		request.Resource = Resource[Spec]{ID: from.ID, Name: from.Name, Type: from.Type, Version: from.Version}
		if err := json.Unmarshal(from.Spec, &request.Resource.Spec); err != nil {
			return Result{}, Permanent(fmt.Errorf("the spec cannot be read: %w", err))
		}
		if err := json.Unmarshal(context, &request.Context); err != nil {
			return Result{}, Permanent(fmt.Errorf("the context cannot be read: %w", err))
		}
		return reconcile(request, new(Log))
	}
}
