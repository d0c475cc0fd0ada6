package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// Until a result that cannot be published is given up.
	offer = time.Minute
	// Deliveries that are remembered as done: more than can be on their way again at one time.
	remembered = 1_024
)

// Driver is a function, and where it works.
type Driver struct {
	Name      string
	Resources []string
	Reconcile Reconcile
	// Servers default to nats://127.0.0.1:4222.
	Servers []string
	Access  Access
	// API is the address of the server, from where large results of earlier steps are fetched.
	API string
	// Concurrency is the most attempts under way at one time; at least 1.
	Concurrency int
	Bounds      Bounds
}

// Run works until the context is cancelled; then what is under way may end within Bounds.StopMS. It calls ready when steps
// reach it. It asks for a message only when it can begin it, so that instances share the work.
func (d Driver) Run(ctx context.Context, ready func()) error {
	subjects, err := filters(d.Name, d.Resources)
	if err != nil {
		return err
	}
	if len(d.Servers) == 0 {
		d.Servers = []string{nats.DefaultURL}
	}
	d.Concurrency = max(d.Concurrency, 1)
	inFlight := max(d.Bounds.InFlight, uint64(d.Concurrency))
	link, err := open(d.Name, d.Servers, d.Access, consumer(d.Name, subjects, d.Bounds.AckWaitMS, inFlight))
	if err != nil {
		return err
	}
	w := &worker{Driver: d, link: link, underWay: map[string]bool{}, done: map[string]bool{}, attempts: map[string]attempt{}}
	if _, err := link.nats.Subscribe("control.cancel."+d.Name, w.cancel); err != nil {
		return err
	}
	return w.run(ctx, ready)
}

type worker struct {
	Driver
	link *link

	mutex sync.Mutex
	// Deliveries, and those that are done in their order.
	underWay, done map[string]bool
	order          []string
	attempts       map[string]attempt
}

type attempt struct {
	message *nats.Msg
	cancel  context.CancelCauseFunc
}

var (
	errUnwanted = errors.New("nobody wants the attempt any more")
	errLate     = errors.New("the driver stops")
)

func (w *worker) run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		<-w.link.closed
		stop()
	}()
	w.link.assertPlace(ctx)
	if ctx.Err() == nil {
		ready()
	}
	var slots sync.WaitGroup
	for range w.Concurrency {
		slots.Add(1)
		go func() {
			defer slots.Done()
			for ctx.Err() == nil {
				if message := w.link.pull(ctx); message != nil {
					w.take(message)
				}
			}
		}()
	}
	<-ctx.Done()
	ended := make(chan struct{})
	go func() {
		slots.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Duration(w.Bounds.StopMS) * time.Millisecond):
		say("what did not end in time is given back")
		w.mutex.Lock()
		for _, attempt := range w.attempts {
			attempt.cancel(errLate)
			w.link.tell(attempt.message.Reply, []byte("-NAK"))
		}
		w.mutex.Unlock()
	}
	return w.link.close()
}

// take serves a delivery, unless this process has it in hand already or is done with it.
func (w *worker) take(message *nats.Msg) {
	delivery := identify(message.Reply)
	w.mutex.Lock()
	done, underWay := w.done[delivery], w.underWay[delivery]
	if !done && !underWay {
		w.underWay[delivery] = true
	}
	w.mutex.Unlock()
	if done {
		w.link.tell(message.Reply, []byte("+ACK"))
	}
	if done || underWay {
		return
	}
	served := w.serve(message)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	delete(w.underWay, delivery)
	if served {
		w.done[delivery] = true
		w.order = append(w.order, delivery)
	}
	if len(w.order) > remembered {
		delete(w.done, w.order[0])
		w.order = w.order[1:]
	}
}

// serve tells whether nothing is left to do about the message.
func (w *worker) serve(message *nats.Msg) bool {
	work, err := decode(message.Data, w.Name)
	if err != nil {
		say("a message that cannot be read is dropped: %v", err)
		w.link.tell(message.Reply, []byte("+ACK"))
		return true
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	w.mutex.Lock()
	w.attempts[work.name()] = attempt{message, cancel}
	w.mutex.Unlock()
	answered := make(chan struct{})
	go w.keep(message, answered)
	result := w.attempt(ctx, work)
	cause := context.Cause(ctx)
	// Only a result that is acknowledged lets go of the work: a crash before that brings the message back.
	done := cause == errUnwanted || (cause == nil && w.report(work, result))
	w.mutex.Lock()
	delete(w.attempts, work.name())
	w.mutex.Unlock()
	close(answered)
	cancel(nil)
	if done {
		w.link.tell(message.Reply, []byte("+ACK"))
	} else {
		w.link.tell(message.Reply, []byte(`-NAK {"delay": 1000000000}`))
	}
	return done
}

// keep says again and again that the work goes on, so that it is not given to another instance.
func (w *worker) keep(message *nats.Msg, answered <-chan struct{}) {
	signs := time.NewTicker(time.Duration(w.Bounds.AckWaitMS) * time.Millisecond / 3)
	defer signs.Stop()
	for {
		select {
		case <-signs.C:
			w.link.tell(message.Reply, []byte("+WPI"))
		case <-answered:
			return
		}
	}
}

func (w *worker) cancel(message *nats.Msg) {
	var signal struct {
		RunID   string `json:"run_id"`
		Step    string `json:"step"`
		Attempt uint32 `json:"attempt"`
	}
	if json.Unmarshal(message.Data, &signal) != nil {
		return
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if attempt, found := w.attempts[attemptName(signal.RunID, signal.Step, signal.Attempt)]; found {
		attempt.cancel(errUnwanted)
	}
}

func (w *worker) attempt(ctx context.Context, work work) Result {
	if err := w.whole(ctx, work.request.Context.Results); err != nil {
		return outcome(Result{}, err, w.Bounds.ResultBytes)
	}
	log := newLog(work, w.Name, w.link)
	// The log is complete before the result can end the run.
	defer log.close()
	result, err := guarded(ctx, w.Reconcile, work.request, log)
	return outcome(result, err, w.Bounds.ResultBytes)
}

// guarded calls the function. If it panics, that fails the attempt and nothing else.
func guarded(ctx context.Context, reconcile Reconcile, request Request, log *Log) (result Result, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = trapped{cause}
		}
	}()
	return reconcile(ctx, request, log)
}

// whole puts large results of earlier steps in their place; nobody having told of the API, they stay references.
func (w *worker) whole(ctx context.Context, results map[string]StepResult) error {
	for step, result := range results {
		if w.API == "" || result.Blob == nil {
			continue
		}
		data, err := fetch(ctx, w.API, result.Blob.Digest)
		if err != nil {
			return fmt.Errorf("the result of step %q cannot be read: %w", step, err)
		}
		result.Data, result.Blob = data, nil
		results[step] = result
	}
	return nil
}

func fetch(ctx context.Context, api, digest string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(api, "/")+"/results/"+digest, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("the server answered %s", answer.Status)
	}
	if sum := sha256.Sum256(data); err == nil && digest != "sha256:"+hex.EncodeToString(sum[:]) {
		err = fmt.Errorf("%s is damaged", digest)
	}
	return data, err
}

// report publishes the result, again and again while it is not taken, and tells whether it is acknowledged.
func (w *worker) report(work work, result Result) bool {
	until := time.Now().Add(offer)
	for {
		event, err := resultEvent(work, w.Name, result)
		if err == nil {
			err = w.link.publish(context.Background(), results, event, work.name()+"/result", "pipeline")
		}
		switch {
		case err == nil:
			return true
		case errors.Is(err, nats.ErrMaxPayload):
			result = Result{Message: fmt.Sprint("the result cannot be published: ", err)}
		case time.Now().After(until):
			say("the result of %s cannot be published, so its step is given back: %v", work.name(), err)
			return false
		default:
			time.Sleep(retry)
		}
	}
}
