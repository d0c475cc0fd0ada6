package main

import (
	"testing"

	"{{name}}/conveyor"
)

func TestItGreets(t *testing.T) {
	resource := conveyor.Resource[Spec]{Name: "one", Spec: Spec{Who: "belt"}}
	result, err := Reconcile(conveyor.Request[Spec]{Event: "create", Resource: resource}, new(conveyor.Log))
	if err != nil || result.Message != "Hello, belt!" {
		t.Fatal(result, err)
	}
}

func TestItNeedsAName(t *testing.T) {
	if _, err := Reconcile(conveyor.Request[Spec]{}, new(conveyor.Log)); err == nil {
		t.Fatal("it greeted nobody")
	}
}
