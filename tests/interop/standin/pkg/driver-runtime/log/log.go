// Package log publishes log lines as wire protocol 2.5 tells.
package log

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/open-ug/conveyor/pkg/types"
)

// DriverLogger writes lines for one run.
type DriverLogger struct {
	driver, run string
	connection  *nats.Conn
	stream      jetstream.JetStream
}

// NewDriverLogger is a logger for the run that the labels name.
func NewDriverLogger(driver string, labels map[string]string, connection *nats.Conn) *DriverLogger {
	stream, _ := jetstream.New(connection)
	return &DriverLogger{driver, labels["run_id"], connection, stream}
}

// Log stores a line first; only one that is stored is told live.
func (l *DriverLogger) Log(_ map[string]string, message string) error {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	line, err := json.Marshal(types.Log{RunID: l.run, Driver: l.driver, Timestamp: now, Message: message})
	if err != nil {
		return err
	}
	if _, err = l.stream.Publish(context.Background(), "logs."+l.run, line); err != nil {
		return err
	}
	return l.connection.Publish("live.logs."+l.run+"."+l.driver, line)
}
