// Package weir has the code that balancers and filters share.
package weir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
	host "wit_component/weir_plugin_host"
	state "wit_component/weir_plugin_state"
)

// Tell ends the instance after a panic, and logs the message and the places. Every export defers
// it, because the host learns only of the trap.
func Tell() {
	reason := recover()
	if reason == nil {
		return
	}
	text := fmt.Sprint("panic: ", reason)
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for told, more := 0, true; more && told < 8; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if strings.HasPrefix(frame.Function, "runtime.") || strings.HasPrefix(frame.Function, "wit_component/") {
			continue
		}
		text += fmt.Sprintf(" at %s:%d in %s", path.Base(frame.File), frame.Line, frame.Function)
		told++
	}
	host.Log(host.Level_Error, text)
	os.Exit(2)
}

// About is the description of a plugin. ConfigSchema is a JSON Schema, or empty.
type About struct {
	Name, Version, Summary, ConfigSchema string
}

// Input is a requested input of a request, ResponseInput one of a response.
type (
	Input         int
	ResponseInput int
)

// ValuesOf are the values of inputs, in the order in which they were requested.
type ValuesOf[Handle ~int] []witTypes.Option[[]uint8]

// Values are the values of a request, ResponseValues those of a response.
type (
	Values         = ValuesOf[Input]
	ResponseValues = ValuesOf[ResponseInput]
)

// Bytes returns the value of an input, and whether there is one.
func (v ValuesOf[Handle]) Bytes(input Handle) ([]byte, bool) {
	if int(input) >= len(v) || v[input].IsNone() {
		return nil, false
	}
	return v[input].Some(), true
}

// Text returns the value of an input, or an empty text if there is none.
func (v ValuesOf[Handle]) Text(input Handle) string {
	value, _ := v.Bytes(input)
	return string(value)
}

// InputsOf are the names of inputs.
type InputsOf[Handle ~int] []string

// Inputs are the names of the inputs of a request.
type Inputs = InputsOf[Input]

// Input requests an input by its name in the host, such as "header:x-user".
func (i *InputsOf[Handle]) Input(name string) Handle {
	*i = append(*i, name)
	return Handle(len(*i) - 1)
}

// Test returns values for a test: those of the given inputs, and none for the others.
func (i *InputsOf[Handle]) Test(given map[Handle]string) ValuesOf[Handle] {
	values := make(ValuesOf[Handle], len(*i))
	for at := range values {
		values[at] = witTypes.None[[]uint8]()
		if value, ok := given[Handle(at)]; ok {
			values[at] = witTypes.Some([]byte(value))
		}
	}
	return values
}

// Decode parses a configuration into config. A key without a field in config is an error.
func Decode(text []byte, config any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(config); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the configuration")
	}
	return nil
}

// Misfit is the error of a plugin with a method of this name that has another signature than the
// optional interface. Without it, the method would never be called, silently.
func Misfit(method, signature string) error {
	return fmt.Errorf("the method %s has another signature than %s", method, signature)
}

// Log levels.
const (
	Debug = host.Level_Debug
	Info  = host.Level_Info
	Warn  = host.Level_Warn
	Error = host.Level_Error
)

// Log writes a line to the host's log.
func Log(level host.Level, message string) { host.Log(level, message) }

// Now returns the time, to the microsecond. time.Now has no real clock here.
func Now() time.Time { return time.UnixMicro(int64(host.NowUs())) }

// Random returns up to 4096 unpredictable bytes. The rand packages return none here.
func Random(n uint32) []byte { return host.Random(n) }

// Count adds to one of the plugin's own counters.
func Count(metric string, by uint64) { host.Count(metric, by) }

// State has values that all instances of a plugin share. It is the name of a space: "" for the
// plugin's own, or a name in its allow.state. A time to live has whole milliseconds, or is 0 for no
// end.
type State string

// Add adds to a counter and returns the sum.
func (s State) Add(key string, by int64, live time.Duration) int64 {
	return state.Add(string(s), key, by, milliseconds(live))
}

// Get returns the value of a key, and whether there is one. The value of a counter is its sum in
// decimal.
func (s State) Get(key string) ([]byte, bool) {
	value := state.Get(string(s), key)
	if value.IsNone() {
		return nil, false
	}
	return value.Some(), true
}

// Set sets a value and its time to live.
func (s State) Set(key string, value []byte, live time.Duration) {
	state.Set(string(s), key, value, milliseconds(live))
}

// Replace sets a value if the present one equals expected, in one atomic step. A nil expected means
// that there is no value. It returns whether it set the value.
func (s State) Replace(key string, expected, value []byte, live time.Duration) bool {
	old := witTypes.None[[]uint8]()
	if expected != nil {
		old = witTypes.Some(expected)
	}
	return state.Replace(string(s), key, old, value, milliseconds(live))
}

// Remove removes a key.
func (s State) Remove(key string) { state.Remove(string(s), key) }

// Rounds a time up. 0 has a meaning of its own, so a time that is over becomes 1.
func milliseconds(limit time.Duration) uint64 {
	switch {
	case limit == 0:
		return 0
	case limit < time.Millisecond:
		return 1
	}
	return uint64((limit-1)/time.Millisecond) + 1
}

// Milliseconds rounds the time of a fetch up.
func Milliseconds(limit time.Duration) uint32 { return uint32(min(milliseconds(limit), 1<<31-1)) }
