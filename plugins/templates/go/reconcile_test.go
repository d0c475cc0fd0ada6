package main

import "testing"

func TestItGreets(t *testing.T) {
	var request Request
	request.Resource.Spec.Who = "belt"
	if _, message, _ := Reconcile(request, func(string) {}); message != "Hello, belt!" {
		t.Fatal(message)
	}
}
