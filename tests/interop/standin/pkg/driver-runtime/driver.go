// Package driverruntime stands in for the SDK's package of this name: its driver loop, with all that is odd about it (wire
// protocol 2.4), and its calls of the API (3.6).
package driverruntime

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/open-ug/conveyor/pkg/driver-runtime/log"
	"github.com/open-ug/conveyor/pkg/types"
)

// Driver is what acts.
type Driver struct {
	Name      string
	Resources []string
	Reconcile func(payload string, event string, runID string, logger *log.DriverLogger) types.DriverResult
}

// DriverManager feeds a driver.
type DriverManager struct {
	driver *Driver
	url    string
}

// NewDriverManager makes one; the events say nothing any more.
func (c *Client) NewDriverManager(driver *Driver, _ []string) (*DriverManager, error) {
	if driver.Name == "" || driver.Reconcile == nil || len(driver.Resources) == 0 {
		return nil, fmt.Errorf("a driver needs a name, resources and a function")
	}
	return &DriverManager{driver, c.nats}, nil
}

// Run takes messages until the end of the process.
func (m *DriverManager) Run() error {
	name := nats.Name("Conveyor Driver Manager - " + m.driver.Name)
	connection, err := nats.Connect(m.url, name, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	stream, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	var filters []string
	for _, resource := range m.driver.Resources {
		filters = append(filters, "resources."+resource, "drivers."+m.driver.Name+".resources."+resource)
	}
	// A name that is not durable, and one message at a time: the two traps of 2.9.
	consumer, err := stream.CreateOrUpdateConsumer(context.Background(), "messages", jetstream.ConsumerConfig{
		Name:           m.driver.Name,
		FilterSubjects: filters,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		MaxAckPending:  1,
	})
	if err != nil {
		return err
	}
	work := func(message jetstream.Msg) { m.take(message, connection, stream) }
	if _, err = consumer.Consume(work); err != nil {
		return err
	}
	fmt.Println("Driver Manager is running for driver: ", m.driver.Name)
	select {}
}

// take acknowledges before it works, and does not look whether the result arrives.
func (m *DriverManager) take(received jetstream.Msg, connection *nats.Conn, stream jetstream.JetStream) {
	_ = received.Ack()
	var message types.DriverMessage
	if err := json.Unmarshal(received.Data(), &message); err != nil {
		return
	}
	labels := map[string]string{"run_id": message.RunID}
	logger := log.NewDriverLogger(m.driver.Name, labels, connection)
	result := m.driver.Reconcile(message.Payload, message.Event, message.RunID, logger)
	event := types.PipelineEvent{Event: "driver.result", RunID: message.RunID}
	event.DriverResult = types.DriverResultEvent{
		Success: result.Success, Message: result.Message, Data: result.Data, Driver: m.driver.Name,
	}
	if err := json.Unmarshal([]byte(message.Payload), &event.Resource); err != nil {
		return
	}
	if text, err := json.Marshal(event); err == nil {
		_, _ = stream.PublishAsync("pipelines.driver.result", text)
	}
}
