//go:build wasip1

package conveyor

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"structs"
	"unsafe"
)

// The border to the host, as the canonical ABI of components lays out what wit/driver.wit says. An instance lives for one
// call, so that what has crossed the border is kept to its end.

// text is a string in memory. Addresses are of 32 bits, unlike Go's own pointers.
type text struct {
	_               structs.HostLayout
	address, length uint32
}

type request struct {
	_             structs.HostLayout
	runID, stepID text
	attempt       uint32
	event         text
	id, name      text
	resourceType  text
	version, spec text
	context       text
}

// answer is result<driver-result, failure>.
type answer struct {
	_      structs.HostLayout
	failed uint8
	_      [3]uint8
	// kind is whether a result is a success, and whether a failure is permanent.
	kind          uint8
	_             [3]uint8
	message, data text
}

var (
	answered  answer
	allocated [][]uint64
	written   []string
)

// Until the driver is called the host only asks for memory, and may not be called in turn, not even for the time: which the
// garbage collector would do.
func init() { debug.SetGCPercent(-1) }

//go:wasmimport conveyor:driver/host-log@0.1.0 log
func hostLog(level uint32, address unsafe.Pointer, length uint32)

//go:wasmexport conveyor:driver/reconciler@0.1.0#reconcile
func reconcile(asked *request) *answer {
	// More often than by default: a component has less room than a machine.
	debug.SetGCPercent(50)
	result, data, err := call(asked)
	switch {
	case err == nil:
		answered = answer{kind: flag(result.Success), message: textOf(result.Message), data: textOf(string(data))}
	default:
		answered = answer{failed: 1, kind: flag(errors.As(err, new(permanent))), message: textOf(err.Error())}
	}
	return &answered
}

//go:wasmexport cabi_realloc
func reallocate(old unsafe.Pointer, oldLength, align, length uint32) unsafe.Pointer {
	// Words, because the host asks for any alignment up to eight bytes.
	room := make([]uint64, length/8+1)
	if oldLength > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&room[0])), length), unsafe.Slice((*byte)(old), oldLength))
	}
	allocated = append(allocated, room)
	return unsafe.Pointer(&room[0])
}

func call(asked *request) (result Result, data []byte, err error) {
	// A panic that nobody catches would be told in pieces, and the reason would be that of the host.
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the driver panicked: %v", reason)
		}
	}()
	if handler == nil {
		return result, nil, Permanent(errors.New("the driver is not complete: no init function calls conveyor.Handle"))
	}
	raw := Request[[]byte]{RunID: asked.runID.String(), Step: asked.stepID.String(), Attempt: asked.attempt}
	raw.Event = asked.event.String()
	raw.Resource = Resource[[]byte]{ID: asked.id.String(), Name: asked.name.String(), Type: asked.resourceType.String()}
	raw.Resource.Version, raw.Resource.Spec = asked.version.String(), asked.spec.bytes()
	if result, err = handler(raw, asked.context.bytes()); err != nil {
		return result, nil, err
	}
	if data, err = json.Marshal(result.Data); err != nil {
		return result, nil, Permanent(fmt.Errorf("the data of the result cannot be written: %w", err))
	}
	return result, data, nil
}

func write(level uint32, line string) {
	hostLog(level, unsafe.Pointer(unsafe.StringData(line)), uint32(len(line)))
}

func (t text) bytes() []byte { return unsafe.Slice((*byte)(unsafe.Add(nil, t.address)), t.length) }

func (t text) String() string { return string(t.bytes()) }

func textOf(line string) text {
	written = append(written, line)
	return text{address: uint32(uintptr(unsafe.Pointer(unsafe.StringData(line)))), length: uint32(len(line))}
}

func flag(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}
