// The driver {{name}}: the border to NATS. What it does is in reconcile.go.
package main

import (
	"context"
	"encoding/json"

	"{{name}}/remote"
)

func main() {
	remote.Main("{{name}}", []string{{{resources}}}, border)
}

func border(_ context.Context, asked remote.Request, log *remote.Log) (remote.Result, error) {
	var request Request
	text, err := json.Marshal(asked)
	if err == nil {
		err = json.Unmarshal(text, &request)
	}
	if err != nil {
		// What cannot be read will not be readable at another try either.
		return remote.Result{}, remote.Permanent(err)
	}
	success, message, data := Reconcile(request, log.Info)
	return remote.Result{Success: success, Message: message, Data: data}, nil
}
