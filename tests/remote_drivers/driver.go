// The driver of the tests of remote drivers, in Go; driver.rs says what it does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"conveyor.test/remote-driver/remote"
)

func main() {
	remote.Main("far", []string{"app"}, reconcile)
}

func reconcile(ctx context.Context, request remote.Request, log *remote.Log) (remote.Result, error) {
	file := filepath.Join(os.Getenv("NOTES"), request.Resource.Name)
	note(file, "begun")
	var spec struct {
		Hold            *bool
		Fail, Permanent string
	}
	if err := json.Unmarshal(request.Resource.Spec, &spec); err != nil {
		return remote.Result{}, remote.Permanent(err)
	}
	for spec.Hold != nil && !exists(file+".go") {
		select {
		case <-ctx.Done():
			note(file, "broken off")
			return remote.Result{}, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if spec.Permanent != "" {
		return remote.Result{}, remote.Permanent(errors.New(spec.Permanent))
	}
	if spec.Fail != "" {
		return remote.Result{Message: spec.Fail}, nil
	}
	log.Info(request.Event + " of " + request.Resource.Name)
	data := map[string]any{
		"process": os.Getpid(),
		"attempt": request.Attempt,
		"team":    request.Context.Metadata["team"],
		"before":  request.Context.Results["before"].Data,
		"text":    "<é>",
	}
	return remote.Result{Success: true, Message: "done", Data: data}, nil
}

func note(file, what string) {
	notes, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer notes.Close()
	if _, err := notes.WriteString(what + "\n"); err != nil {
		panic(err)
	}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
