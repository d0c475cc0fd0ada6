package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	stream  = "messages"
	results = "pipelines.driver.result"
)

// work is one attempt of one step, as it was sent to this driver.
type work struct {
	request Request
	// resource as it came: its metadata says which attempt a result belongs to.
	resource map[string]json.RawMessage
}

// name is the same whenever this attempt is delivered again.
func (w work) name() string {
	return attemptName(w.request.RunID, w.request.Step, w.request.Attempt)
}

func attemptName(run, step string, attempt uint32) string {
	return fmt.Sprintf("%s/%s/%d", run, step, attempt)
}

var plain = regexp.MustCompile(`^[^.*>\s]+$`)

// decode reads a DriverMessage. The error says that no later delivery will be better.
func decode(data []byte, driver string) (work, error) {
	var message struct {
		Event   string  `json:"event"`
		Payload string  `json:"payload"`
		RunID   string  `json:"run_id"`
		Step    string  `json:"step"`
		Attempt uint32  `json:"attempt"`
		Context Context `json:"context"`
	}
	if err := json.Unmarshal(data, &message); err != nil {
		return work{}, err
	}
	if !plain.MatchString(message.RunID) {
		return work{}, fmt.Errorf("run_id %q is none", message.RunID)
	}
	// A message that goes to all drivers of a type names no step: each driver's name is its own.
	if message.Step == "" || message.Step == "*" {
		message.Step = driver
	}
	w := work{request: Request{RunID: message.RunID, Step: message.Step, Attempt: message.Attempt, Event: message.Event, Context: message.Context}}
	if err := json.Unmarshal([]byte(message.Payload), &w.resource); err != nil {
		return work{}, fmt.Errorf("payload: %w", err)
	}
	if err := json.Unmarshal([]byte(message.Payload), &w.request.Resource); err != nil {
		return work{}, fmt.Errorf("payload: %w", err)
	}
	version := w.request.Resource.Metadata["version"]
	w.request.Resource.Metadata = map[string]string{"version": version}
	return w, nil
}

// resultEvent is the PipelineEvent with a result. What the engine has recorded need not come back to it.
func resultEvent(w work, driver string, result Result) ([]byte, error) {
	var metadata map[string]json.RawMessage
	if err := json.Unmarshal(w.resource["metadata"], &metadata); err != nil && w.resource["metadata"] != nil {
		return nil, err
	}
	kept := make(map[string]json.RawMessage)
	for key, value := range metadata {
		if !strings.HasPrefix(key, "driverresults.") {
			kept[key] = value
		}
	}
	resource := map[string]any{}
	for key, value := range w.resource {
		resource[key] = value
	}
	resource["metadata"] = kept
	said := struct {
		Result
		Driver string `json:"driver"`
	}{result, driver}
	return asJSON(map[string]any{"event": "driver.result", "run_id": w.request.RunID, "resource": resource, "driverresult": said})
}

// outcome is what the function said as a result, at most so many bytes of it.
func outcome(result Result, err error, most uint64) Result {
	var trap trapped
	switch {
	case errors.As(err, &trap):
		return failed(err.Error(), "trapped")
	case errors.As(err, new(permanent)):
		return failed(err.Error(), "permanent")
	case err != nil:
		return failed(err.Error(), "retryable")
	}
	data, err := asJSON(result.Data)
	if err != nil {
		return failed("the data of the result is not for JSON: "+err.Error(), "permanent")
	}
	size := uint64(len(data) + len(result.Message))
	if size > most {
		text := "the result has %d bytes, and remote.result_bytes allows %d: keep the data elsewhere and name the place"
		return Result{Message: fmt.Sprintf(text, size, most)}
	}
	return Result{Success: result.Success, Message: result.Message, Data: json.RawMessage(data)}
}

// trapped is the error of a function that panicked.
type trapped struct{ cause any }

func (t trapped) Error() string { return fmt.Sprint("trapped: ", t.cause) }

// failed is a failed result that says which kind of failure it was.
func failed(message, kind string) Result {
	return Result{Message: message, Data: map[string]string{"failure": kind}}
}

// identify tells which message of the stream is answered at this address: where it stands, and since when, because a stream
// that was made anew counts from 1 again.
func identify(reply string) string {
	tokens := strings.Split(reply, ".")
	at := 7
	// Servers may put a domain and an account before the names.
	if len(tokens) == 9 {
		at = 5
	}
	if len(tokens) <= at+2 || tokens[0] != "$JS" || tokens[1] != "ACK" {
		return ""
	}
	return tokens[at] + "@" + tokens[at+2]
}

var nameable = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// filters are the subjects on which work arrives: what goes to all drivers of a type, and what is only for this one.
func filters(driver string, resources []string) ([]string, error) {
	if len(resources) == 0 {
		return nil, fmt.Errorf("the driver %q acts on no type of resource: name one", driver)
	}
	var subjects []string
	for _, name := range append([]string{driver}, resources...) {
		if !nameable.MatchString(name) {
			return nil, fmt.Errorf("%q cannot be the name of a driver or a resource: use letters, digits, '-' and '_'", name)
		}
	}
	for _, resource := range resources {
		subjects = append(subjects, "resources."+resource, "drivers."+driver+".resources."+resource)
	}
	return subjects, nil
}

// consumer is the request for the driver's place. All instances must ask for the same.
func consumer(driver string, subjects []string, ackWaitMS, inFlight uint64) map[string]any {
	config := map[string]any{
		"name":            driver,
		"durable_name":    driver,
		"deliver_policy":  "all",
		"ack_policy":      "explicit",
		"ack_wait":        ackWaitMS * 1_000_000,
		"max_deliver":     -1,
		"max_ack_pending": inFlight,
		"replay_policy":   "instant",
		"filter_subjects": subjects,
	}
	return map[string]any{"stream_name": stream, "config": config, "action": ""}
}

// asJSON writes what comes from others as it is: the usual way makes < and > longer.
func asJSON(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}
