package remote

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// Main is a driver as a program: it works as the command line and the environment say, until SIGTERM or SIGINT, which let
// what is under way end; a second one ends at once.
func Main(name string, resources []string, reconcile Reconcile) {
	driver, err := read(name, resources, os.Args[1:])
	if err != nil {
		end(2, "error: %v\nfix: see --help", err)
	}
	driver.Reconcile = reconcile
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		<-signals
		stop()
		<-signals
		os.Exit(130)
	}()
	if err := driver.Run(ctx, func() { fmt.Printf("driver %s is ready\n", driver.Name) }); err != nil {
		end(1, "error: %v", err)
	}
}

func read(name string, resources, arguments []string) (Driver, error) {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	var driver Driver
	flags.StringVar(&driver.Name, "name", name, "as steps of pipelines name it")
	types := flags.String("resources", strings.Join(resources, ","), "what it acts on, separated by commas")
	servers := flags.String("nats", os.Getenv("CONVEYOR_NATS"), "where NATS is; else the server tells")
	server := or(os.Getenv("CONVEYOR_SERVER"), "http://127.0.0.1:8080")
	flags.StringVar(&driver.API, "server", server, "the server")
	flags.StringVar(&driver.Access.Credentials, "credentials", "", "a file with credentials for NATS (.creds)")
	flags.StringVar(&driver.Access.CA, "ca", "", "who signed the certificates of NATS (PEM); makes TLS a must")
	flags.StringVar(&driver.Access.Certificate, "certificate", "", "to show to NATS (PEM), with -key")
	flags.StringVar(&driver.Access.Key, "key", "", "of the certificate (PEM)")
	flags.IntVar(&driver.Concurrency, "concurrency", 1, "the most attempts under way at one time")
	if err := flags.Parse(arguments); err != nil {
		return driver, err
	}
	if (driver.Access.Certificate == "") != (driver.Access.Key == "") {
		return driver, errors.New("-certificate and -key belong together: give both")
	}
	driver.Resources = strings.FieldsFunc(*types, func(r rune) bool { return r == ',' })
	driver.Servers = strings.Split(or(*servers, or(natsOf(driver.API), "nats://127.0.0.1:4222")), ",")
	bounds, err := boundsOf(os.Getenv)
	driver.Bounds = bounds
	return driver, err
}

// boundsOf are those that CONVEYOR_REMOTE__ACK_WAIT_MS and its like say, as for a driver in Rust.
func boundsOf(environment func(string) string) (Bounds, error) {
	bounds := DefaultBounds()
	for name, bound := range map[string]*uint64{
		"ACK_WAIT_MS":  &bounds.AckWaitMS,
		"IN_FLIGHT":    &bounds.InFlight,
		"STOP_MS":      &bounds.StopMS,
		"RESULT_BYTES": &bounds.ResultBytes,
	} {
		variable := "CONVEYOR_REMOTE__" + name
		text := environment(variable)
		if text == "" {
			continue
		}
		value, err := strconv.ParseUint(text, 10, 48)
		if err != nil || value == 0 {
			return bounds, fmt.Errorf("%s is %q: give a whole number such as %d", variable, text, *bound)
		}
		*bound = value
	}
	return bounds, nil
}

// natsOf tells where the server's NATS is, if the server is there and has one.
func natsOf(server string) string {
	client := http.Client{Timeout: answerTime}
	answer, err := client.Get(strings.TrimRight(server, "/") + "/info")
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	var info struct {
		NATS string `json:"nats"`
	}
	if json.NewDecoder(answer.Body).Decode(&info) != nil {
		return ""
	}
	return info.NATS
}

func or(text, without string) string {
	if text == "" {
		return without
	}
	return text
}

func end(code int, format string, values ...any) {
	say(format, values...)
	os.Exit(code)
}
