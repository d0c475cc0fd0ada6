package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// Of a request for a message, and of the signs of life in it.
	expires, heartbeat = 20 * time.Second, 5 * time.Second
	// Of any other request.
	answerTime = 5 * time.Second
	// The pauses before something is tried again.
	retry, retryCap = 250 * time.Millisecond, 5 * time.Second
)

// link is a connection that comes back by itself, with the driver's place.
type link struct {
	driver string
	place  []byte
	nats   *nats.Conn
	// closed when the connection ended for good.
	closed chan struct{}

	// One request for the place at a time.
	turn sync.Mutex

	mutex    sync.Mutex
	asserted bool
	// lost is closed when the connection is lost, or was.
	lost chan struct{}
	told string
}

// open starts to connect; a server that is away is waited for.
func open(driver string, servers []string, access Access, place map[string]any) (*link, error) {
	body, err := json.Marshal(place)
	if err != nil {
		return nil, err
	}
	l := &link{driver: driver, place: body, closed: make(chan struct{}), lost: make(chan struct{})}
	options := []nats.Option{
		nats.Name("Conveyor driver " + driver),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(retry),
		// A server that hangs is noticed within 15 s.
		nats.PingInterval(heartbeat),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			l.lose()
			// It is none when we end it ourselves.
			if err != nil {
				l.say("the connection to NATS is lost: %v", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { l.lose() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { l.say("NATS: %v", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.say("NATS: %v", err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(l.closed) }),
	}
	for _, file := range []string{access.Credentials, access.CA, access.Certificate, access.Key} {
		if _, err := os.Stat(file); file != "" && err != nil {
			return nil, err
		}
	}
	if access.Credentials != "" {
		options = append(options, nats.UserCredentials(access.Credentials))
	}
	if access.CA != "" {
		options = append(options, nats.RootCAs(access.CA))
	}
	if access.Certificate != "" {
		options = append(options, nats.ClientCert(access.Certificate, access.Key))
	}
	l.nats, err = nats.Connect(strings.Join(servers, ","), options...)
	return l, err
}

// close ends the connection once all is sent; the error says that it had ended by itself.
func (l *link) close() error {
	if l.nats.IsClosed() {
		return fmt.Errorf("NATS ended the connection for good: %w", l.nats.LastError())
	}
	_ = l.nats.FlushTimeout(answerTime)
	l.nats.Close()
	return nil
}

func (l *link) lose() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.asserted = false
	select {
	case <-l.lost:
	default:
		close(l.lost)
	}
}

// fresh is the signal that the connection is lost, as from now on.
func (l *link) fresh() <-chan struct{} {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	select {
	case <-l.lost:
		l.lost = make(chan struct{})
	default:
	}
	return l.lost
}

// assertPlace makes the durable consumer, or takes it up again, as soon as the server has made the stream. It gives the
// signal that the connection is lost.
func (l *link) assertPlace(ctx context.Context) <-chan struct{} {
	l.turn.Lock()
	defer l.turn.Unlock()
	for pause := retry; ; pause = min(pause*2, retryCap) {
		l.mutex.Lock()
		asserted, lost := l.asserted, l.lost
		l.mutex.Unlock()
		if asserted || ctx.Err() != nil {
			return lost
		}
		fresh := l.fresh()
		err := l.ask(ctx, fmt.Sprintf("$JS.API.CONSUMER.CREATE.%s.%s", stream, l.driver), l.place, nil)
		if err != nil && ctx.Err() == nil {
			l.say("there is no place for the driver %s yet: %v", l.driver, err)
			wait(ctx, pause)
		}
		l.mutex.Lock()
		select {
		case <-fresh:
		default:
			l.asserted = err == nil
		}
		l.mutex.Unlock()
	}
}

// pull asks for one message and waits for it; nil if the request has ended without.
func (l *link) pull(ctx context.Context) *nats.Msg {
	lost := l.assertPlace(ctx)
	inbox, answers := l.nats.NewInbox(), make(chan *nats.Msg, 16)
	subscription, err := l.nats.ChanSubscribe(inbox, answers)
	if err == nil {
		body := fmt.Sprintf(`{"batch":1,"expires":%d,"idle_heartbeat":%d}`, expires, heartbeat)
		err = l.nats.PublishRequest(fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, l.driver), inbox, []byte(body))
	}
	for err == nil {
		select {
		case message := <-answers:
			switch status := message.Header.Get("Status"); status {
			case "":
				_ = subscription.Unsubscribe()
				return message
			case "100":
			case "404", "408":
				// Of its age a request ends as it should.
				_ = subscription.Unsubscribe()
				return nil
			default:
				// Something happened to the place.
				err = errors.New(status + " " + message.Header.Get("Description"))
			}
		case <-time.After(2 * heartbeat):
			err = errors.New("the server is silent")
		case <-lost:
			_ = subscription.Unsubscribe()
			return nil
		case <-ctx.Done():
			l.giveBack(subscription, answers)
			return nil
		}
	}
	if subscription != nil {
		_ = subscription.Unsubscribe()
	}
	l.mutex.Lock()
	l.asserted = false
	l.mutex.Unlock()
	l.say("asking for messages anew: %v", err)
	wait(ctx, retry)
	return nil
}

// giveBack ends a request; another instance may have at once what was on its way to us.
func (l *link) giveBack(subscription *nats.Subscription, answers <-chan *nats.Msg) {
	_ = subscription.Drain()
	_ = l.nats.FlushTimeout(answerTime)
	for {
		select {
		case message := <-answers:
			if message.Header.Get("Status") == "" {
				l.tell(message.Reply, []byte("-NAK"))
			}
		default:
			return
		}
	}
}

// publish publishes to a stream and waits until it has stored the message; its name makes a second time harmless.
func (l *link) publish(ctx context.Context, subject string, body []byte, name, stream string) error {
	return l.ask(ctx, subject, body, nats.Header{"Nats-Msg-Id": {name}, "Nats-Expected-Stream": {stream}})
}

// tell tells whoever listens at this moment. Of an answer to a delivery that is lost, the message comes again by itself.
func (l *link) tell(subject string, body []byte) {
	_ = l.nats.Publish(subject, body)
}

// ask makes a request to JetStream, which must not answer an error.
func (l *link) ask(ctx context.Context, subject string, body []byte, header nats.Header) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answer, err := l.nats.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Data: body, Header: header})
	if errors.Is(err, nats.ErrNoResponders) {
		return errors.New("the server has no JetStream or not the stream, or it is still starting")
	}
	if err != nil {
		return fmt.Errorf("NATS does not answer: %w", err)
	}
	var said struct {
		Error *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &said); err != nil {
		return fmt.Errorf("NATS answers something else: %w", err)
	}
	if said.Error != nil {
		return fmt.Errorf("%s (%d)", said.Error.Description, said.Error.Code)
	}
	return nil
}

// say tells people, and not the same again and again.
func (l *link) say(format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	l.mutex.Lock()
	told := l.told == text
	l.told = text
	l.mutex.Unlock()
	if !told {
		say("%s", text)
	}
}

func say(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
}

func wait(ctx context.Context, time_ time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time_):
	}
}
