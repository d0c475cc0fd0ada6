// Package remote makes a function a remote driver of Conveyor: it is called for every step that names it, wherever NATS can
// be reached.
//
//	func main() {
//		remote.Main("deploy", []string{"app"}, func(ctx context.Context, request remote.Request, log *remote.Log) (remote.Result, error) {
//			log.Info(request.Event + " of " + request.Resource.Name)
//			return remote.Result{Success: true, Message: "deployed", Data: map[string]string{"url": "https://example.org"}}, nil
//		})
//	}
//
// An attempt comes again after a crash: RunID, Step and Attempt are the key for effects that must not happen twice. When
// nobody wants an attempt any more its context is cancelled; until the function has returned, nothing else is begun in its
// place.
package remote

import (
	"context"
	"encoding/json"
)

// Reconcile acts on the resource once. The error says that the attempt could not be carried through; trying again may help,
// unless it is [Permanent].
type Reconcile func(ctx context.Context, request Request, log *Log) (Result, error)

// Request is what there is to act on.
type Request struct {
	RunID string `json:"run_id"`
	// Step is the step id; the driver's own name in a run without a pipeline.
	Step string `json:"step"`
	// Attempt counts from 1.
	Attempt uint32 `json:"attempt"`
	// Event is create, update or delete.
	Event    string   `json:"event"`
	Resource Resource `json:"resource"`
	Context  Context  `json:"context"`
}

// Resource is what moves on the belt.
type Resource struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Type is the name of its definition.
	Type     string            `json:"resource"`
	Pipeline string            `json:"pipeline"`
	Metadata map[string]string `json:"metadata"`
	Labels   map[string]string `json:"labels"`
	// Spec satisfies the schema of the definition.
	Spec json.RawMessage `json:"spec"`
}

// Context is what the steps of a run share.
type Context struct {
	Pipeline string            `json:"pipeline"`
	Metadata map[string]string `json:"metadata"`
	// Results are those of earlier steps, by step id.
	Results map[string]StepResult `json:"results"`
	// Item is what a step of a matrix is about.
	Item json.RawMessage `json:"item,omitempty"`
}

// StepResult is the result of an earlier step.
type StepResult struct {
	Driver  string          `json:"driver"`
	Success bool            `json:"success"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
	// Blob says where large data lies that was not fetched, because nobody told of the API.
	Blob *Blob `json:"blob,omitempty"`
}

// Blob is data that lies elsewhere.
type Blob struct {
	Digest string `json:"digest"`
	Bytes  uint64 `json:"bytes"`
}

// Result is what a driver says of an attempt.
type Result struct {
	Success bool `json:"success"`
	// Message is one line for people.
	Message string `json:"message"`
	// Data is for the steps that follow: anything that can be JSON.
	Data any `json:"data"`
}

// Permanent says of an error that trying again cannot help.
func Permanent(err error) error {
	return permanent{err}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Bounds are the table `remote` of Conveyor's configuration. All instances of a driver must have the same.
type Bounds struct {
	// AckWaitMS is after how long the work of an instance that went silent is given to another one.
	AckWaitMS uint64
	// InFlight is the most attempts under way in all instances.
	InFlight uint64
	// StopMS is how long what is under way may go on after the signal to stop.
	StopMS uint64
	// ResultBytes is the most bytes of a result.
	ResultBytes uint64
}

// DefaultBounds are those of Conveyor.
func DefaultBounds() Bounds {
	return Bounds{AckWaitMS: 10_000, InFlight: 1_000, StopMS: 30_000, ResultBytes: 512 << 10}
}

// Access names files that say who we are, and who signed the certificates of NATS. User and password may stand in the
// address.
type Access struct {
	// Credentials is a .creds file.
	Credentials string
	// CA is a PEM file; it makes TLS a must.
	CA string
	// Certificate and Key are PEM files to show to NATS.
	Certificate, Key string
}
