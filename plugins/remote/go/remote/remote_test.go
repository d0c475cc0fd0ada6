package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const resource = `{"id":"i","name":"app","resource":"app","spec":{"a":"<é>"},"metadata":{"version":"3","conveyor.run":"r1","driverresults.a":"{}"}}`

func message(run, step, payload string) []byte {
	text, _ := json.Marshal(map[string]any{"event": "update", "payload": payload, "run_id": run, "step": step, "attempt": 2})
	return text
}

func TestAMessageBecomesARequestAndItsResourceGoesBack(t *testing.T) {
	work, err := decode(message("r1", "ship", resource), "far")
	if err != nil || work.name() != "r1/ship/2" || work.request.Resource.Metadata["version"] != "3" {
		t.Fatal(work, err)
	}
	event, err := resultEvent(work, "far", Result{Message: "no"})
	expected := `{"driverresult":{"success":false,"message":"no","data":null,"driver":"far"},"event":"driver.result",` +
		`"resource":{"id":"i","metadata":{"conveyor.run":"r1","version":"3"},"name":"app","resource":"app","spec":{"a":"<é>"}},"run_id":"r1"}`
	if err != nil || string(event) != expected {
		t.Fatal(string(event), err)
	}
	if work, _ := decode(message("r1", "*", resource), "far"); work.name() != "r1/far/2" {
		t.Fatal(work.name())
	}
	for _, wrong := range [][]byte{nil, []byte("[]"), message("a.b", "", resource), message("r1", "", "[]")} {
		if _, err := decode(wrong, "far"); err == nil {
			t.Fatal(string(wrong))
		}
	}
}

func TestWhatAFunctionSays(t *testing.T) {
	said := outcome(Result{Success: true, Message: "é", Data: "<"}, nil, 5)
	if text, _ := asJSON(said); string(text) != `{"success":true,"message":"é","data":"<"}` {
		t.Fatal(string(text))
	}
	if said := outcome(Result{Success: true, Message: "é", Data: 1}, nil, 2); said.Success || !strings.Contains(said.Message, "remote.result_bytes") {
		t.Fatal(said)
	}
	cause := errors.New("no")
	for kind, err := range map[string]error{"retryable": cause, "permanent": fmt.Errorf("so: %w", Permanent(cause)), "trapped": trapped{"no"}} {
		if data := outcome(Result{}, err, 99).Data.(map[string]string); data["failure"] != kind {
			t.Fatal(kind, data)
		}
	}
}

func TestDeliveriesAreToldApart(t *testing.T) {
	for reply, expected := range map[string]string{
		"$JS.ACK.messages.far.2.7.9.1700.0":            "7@1700",
		"$JS.ACK.hub.hash.messages.far.1.7.8.1700.0.x": "7@1700",
		"_INBOX.a.b": "",
	} {
		if found := identify(reply); found != expected {
			t.Fatal(reply, found)
		}
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for _, wrong := range []Driver{{Name: "a.b", Resources: []string{"app"}}, {Name: "a", Resources: []string{"*"}}, {Name: "a"}} {
		if err := wrong.Run(t.Context(), nil); err == nil {
			t.Fatal(wrong)
		}
	}
	_, err := boundsOf(func(name string) string { return map[string]string{"CONVEYOR_REMOTE__STOP_MS": "soon"}[name] })
	if err == nil || !strings.Contains(err.Error(), `CONVEYOR_REMOTE__STOP_MS is "soon"`) {
		t.Fatal(err)
	}
	access := Access{CA: "/no/such.pem"}
	err = Driver{Name: "a", Resources: []string{"app"}, Access: access}.Run(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "/no/such.pem") {
		t.Fatal(err)
	}
}

func TestALongLineIsCutBetweenCharacters(t *testing.T) {
	long := strings.Repeat("x", lineBytes-1)
	if cut(long+"é") != long+"…" || cut("é\xff") != "é\uFFFD" {
		t.Fatal(len(cut(long + "é")))
	}
}
