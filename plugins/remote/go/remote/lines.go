package remote

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nuid"
)

const (
	// Lines that may wait.
	waiting = 1_024
	// Bytes of one line.
	lineBytes = 16 << 10
	// How long the last lines of an attempt may take: a log must not hold up the work.
	lastLines = 10 * time.Second
)

// Log takes the lines of one attempt. It may be used by several goroutines; a line waits for its turn while too many do.
type Log struct {
	link         *link
	stored, live string
	// Unique for every call, since an attempt that is made again logs again.
	prefix   string
	template map[string]string
	lines    chan map[string]string
	ended    chan struct{}
	pumped   chan struct{}
}

// Debug takes a line for the driver's author.
func (l *Log) Debug(line string) { l.take("debug", line) }

// Info takes a line about what happens.
func (l *Log) Info(line string) { l.take("info", line) }

// Warn takes a line about what is odd.
func (l *Log) Warn(line string) { l.take("warn", line) }

// Error takes a line about what went wrong.
func (l *Log) Error(line string) { l.take("error", line) }

func newLog(w work, driver string, link *link) *Log {
	run := w.request.RunID
	log := &Log{
		link:     link,
		stored:   "logs." + run,
		live:     "live.logs." + run + "." + driver,
		prefix:   fmt.Sprintf("%s/%s/%s", run, w.request.Step, nuid.Next()),
		template: map[string]string{"runid": run, "driver": driver, "pipeline": w.request.Context.Pipeline, "step": w.request.Step},
		lines:    make(chan map[string]string, waiting),
		ended:    make(chan struct{}),
		pumped:   make(chan struct{}),
	}
	go log.run()
	return log
}

func (l *Log) take(level, line string) {
	record := map[string]string{"timestamp": time.Now().UTC().Format(time.RFC3339Nano), "message": cut(line), "level": level}
	for key, value := range l.template {
		record[key] = value
	}
	select {
	// A line after the end of the attempt has nowhere to go.
	case <-l.ended:
	case l.lines <- record:
	}
}

// close returns when all is published, or after a while.
func (l *Log) close() {
	close(l.ended)
	select {
	case <-l.pumped:
	case <-time.After(lastLines):
		say("the last log lines of an attempt are lost")
	}
}

func (l *Log) run() {
	defer close(l.pumped)
	for number := 1; ; number++ {
		select {
		case record := <-l.lines:
			l.publish(record, number)
			continue
		default:
		}
		select {
		case record := <-l.lines:
			l.publish(record, number)
		case <-l.ended:
			if len(l.lines) == 0 {
				return
			}
		}
	}
}

func (l *Log) publish(record map[string]string, number int) {
	body, err := asJSON(record)
	if err != nil {
		return
	}
	// Twice, because the connection may be lost just then; the name makes the second time harmless.
	for tries := 0; tries < 2 && (tries == 0 || err != nil); tries++ {
		err = l.link.publish(context.Background(), l.stored, body, fmt.Sprintf("%s/%d", l.prefix, number), "logs")
	}
	if err != nil {
		say("a log line is lost: %v", err)
		return
	}
	l.link.tell(l.live, body)
}

func cut(line string) string {
	line = strings.ToValidUTF8(line, "\uFFFD")
	if len(line) <= lineBytes {
		return line
	}
	end := lineBytes
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + "…"
}
