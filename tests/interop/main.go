// A driver and a client written with the Go SDK of the Go original, as its users write them.
//
//	interop driver -nats URL -name NAME -resources TYPE,...
//	interop client -server URL
//
// The driver works for as many seconds as the resource's spec says, logs, and tells what it got. The client makes every
// call that the SDK has and prints one line of JSON for each: {"call", "error"}.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	runtime "github.com/open-ug/conveyor/pkg/driver-runtime"
	"github.com/open-ug/conveyor/pkg/driver-runtime/log"
	"github.com/open-ug/conveyor/pkg/types"
)

func main() {
	if len(os.Args) < 2 {
		fail("driver or client?")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	server := flags.String("server", "http://127.0.0.1:8080", "the API")
	nats := flags.String("nats", "nats://127.0.0.1:4222", "NATS")
	name := flags.String("name", "go", "the driver's name")
	resources := flags.String("resources", "app", "the types it acts on")
	_ = flags.Parse(os.Args[2:])
	client, err := runtime.NewClient(*server, *nats, runtime.ConfigOptions{})
	if err != nil {
		fail(err)
	}
	switch os.Args[1] {
	case "driver":
		drive(client, *name, strings.Split(*resources, ","))
	case "client":
		callAll(client)
	default:
		fail("driver or client?")
	}
}

func drive(client *runtime.Client, name string, resources []string) {
	driver := &runtime.Driver{Name: name, Resources: resources, Reconcile: reconcile}
	manager, err := client.NewDriverManager(driver, []string{"*"})
	if err != nil {
		fail(err)
	}
	fail(manager.Run())
}

func reconcile(payload string, event string, runID string, logger *log.DriverLogger) types.DriverResult {
	var resource struct {
		Name string
		Spec struct {
			Seconds float64
			Fail    string
		}
	}
	if err := json.Unmarshal([]byte(payload), &resource); err != nil {
		return types.DriverResult{Message: err.Error()}
	}
	_ = logger.Log(nil, fmt.Sprintf("%s of %s", event, resource.Name))
	time.Sleep(time.Duration(resource.Spec.Seconds * float64(time.Second)))
	if resource.Spec.Fail != "" {
		return types.DriverResult{Message: resource.Spec.Fail}
	}
	data := map[string]any{"event": event, "run": runID, "process": os.Getpid()}
	return types.DriverResult{Success: true, Message: "done", Data: data}
}

func callAll(client *runtime.Client) {
	ctx := context.Background()
	definition := types.ResourceDefinition{Name: "letter", Version: "1", Schema: map[string]any{"type": "object"}}
	resource := types.Resource{Name: "one", Resource: "letter", Spec: map[string]any{"text": "a"}}
	report("CreateResourceDefinition", second(client.CreateResourceDefinition(ctx, &definition)))
	report("CreateOrUpdateResourceDefinition", second(client.CreateOrUpdateResourceDefinition(ctx, &definition)))
	report("GetResourceDefinition", second(client.GetResourceDefinition(ctx, "letter")))
	report("UpdateResourceDefinition", second(client.UpdateResourceDefinition(ctx, &definition)))
	report("CreateResource", second(client.CreateResource(ctx, &resource)))
	report("GetResource", second(client.GetResource(ctx, "one", "letter")))
	report("UpdateResource", second(client.UpdateResource(ctx, &resource)))
	report("DeleteResource", second(client.DeleteResource(ctx, "one", "letter")))
	report("DeleteResourceDefinition", retried(func() error {
		return second(client.DeleteResourceDefinition(ctx, "letter"))
	}))
}

// retried tries for a while: a definition is in use until the runs of its resources have ended.
func retried(call func() error) (err error) {
	for range 50 {
		if err = call(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func second[T any](_ T, err error) error { return err }

func report(call string, err error) {
	line := map[string]string{"call": call, "error": ""}
	if err != nil {
		line["error"] = err.Error()
	}
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
