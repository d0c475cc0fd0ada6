// The driver {{name}}: the border to `conveyor driver exec`. What it does is in reconcile.go.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var request Request
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		fmt.Fprintln(os.Stderr, "the request cannot be read:", err)
		os.Exit(2)
	}
	success, message, data := Reconcile(request, func(line string) { fmt.Println(line) })
	data["message"] = message
	// The last line is the result.
	text, err := json.Marshal(data)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the result cannot be written:", err)
		os.Exit(1)
	}
	fmt.Println(string(text))
	if !success {
		os.Exit(1)
	}
}
