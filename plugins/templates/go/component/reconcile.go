package main

import (
	"errors"

	"{{name}}/conveyor"
)

// Spec has the fields of the spec that this driver reads.
type Spec struct {
	Who string `json:"who"`
}

// Reconcile acts on the resource once.
func Reconcile(request conveyor.Request[Spec], log *conveyor.Log) (conveyor.Result, error) {
	log.Info(request.Event + " of " + request.Resource.Name)
	who := request.Resource.Spec.Who
	if who == "" {
		return conveyor.Result{}, conveyor.Permanent(errors.New("the spec has no field who"))
	}
	greeting := "Hello, " + who + "!"
	return conveyor.Success(greeting, map[string]any{"greeting": greeting}), nil
}
