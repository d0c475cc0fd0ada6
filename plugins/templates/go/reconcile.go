package main

import "fmt"

// Request is what there is to act on.
type Request struct {
	// Event is create, update or delete.
	Event    string `json:"event"`
	Resource struct {
		Name string `json:"name"`
		// Spec has the fields that this driver reads.
		Spec struct {
			Who string `json:"who"`
		} `json:"spec"`
	} `json:"resource"`
	// Context is what the steps share: pipeline, metadata, and the results of earlier steps by step id.
	Context struct {
		Results map[string]struct {
			Data any `json:"data"`
		} `json:"results"`
	} `json:"context"`
}

// Reconcile acts on the resource once. It returns whether it achieved what it is for, one line for people, and data for the
// steps that follow.
func Reconcile(request Request, log func(string)) (bool, string, map[string]any) {
	log(fmt.Sprintf("%s of %s", request.Event, request.Resource.Name))
	greeting := fmt.Sprintf("Hello, %s!", request.Resource.Spec.Who)
	return true, greeting, map[string]any{"greeting": greeting}
}
