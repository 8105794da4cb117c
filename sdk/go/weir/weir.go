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
	"unsafe"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
	host "wit_component/weir_plugin_host"
)

// Standard output and error go to the host's log, line by line. When the runtime cannot allocate
// any more, it writes the reason before it ends. For this reason the memory for a line is reserved
// here.
var line [1024]byte

//go:wasmimport wasi_snapshot_preview1 weir_lines
func takeLines(line unsafe.Pointer, room uint32)

func init() { takeLines(unsafe.Pointer(&line), uint32(len(line))) }

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

// Input is a requested input.
type Input int

// Values are the values of the inputs, in the order in which they were requested.
type Values []witTypes.Option[[]uint8]

// Bytes returns the value of an input, and whether there is one.
func (v Values) Bytes(input Input) ([]byte, bool) {
	if int(input) >= len(v) || v[input].IsNone() {
		return nil, false
	}
	return v[input].Some(), true
}

// Text returns the value of an input, or an empty text if there is none.
func (v Values) Text(input Input) string {
	value, _ := v.Bytes(input)
	return string(value)
}

// Inputs are the names of inputs.
type Inputs []string

// Input requests an input by its name in the host, such as "header:x-user".
func (i *Inputs) Input(name string) Input {
	*i = append(*i, name)
	return Input(len(*i) - 1)
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

// Log levels.
const (
	Debug = host.Level_Debug
	Info  = host.Level_Info
	Warn  = host.Level_Warn
	Error = host.Level_Error
)

// Log writes a line to the host's log.
func Log(level host.Level, message string) { host.Log(level, message) }

// Now returns the time, in nanoseconds since the Unix epoch. Package time has no real clock here.
func Now() uint64 { return host.Now() }

// Random returns up to 4096 unpredictable bytes. The rand packages return none here.
func Random(n uint32) []byte { return host.Random(n) }

// Count adds to one of the plugin's own counters.
func Count(metric string, by uint64) { host.Count(metric, by) }
