// The driver {{name}}. What it does is in reconcile.go.
package main

import "{{name}}/conveyor"

func init() { conveyor.Handle(Reconcile) }

// Nothing calls it: the host calls what Handle names.
func main() {}
