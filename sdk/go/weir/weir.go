// Package weir has what balancers and filters have in common.
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

// What the program writes to standard output and error goes to the host's log, a line at a time. The runtime writes why it ends when it
// can allocate nothing any more, so the memory for a line is here.
var line [1024]byte

//go:wasmimport wasi_snapshot_preview1 weir_lines
func takeLines(line unsafe.Pointer, room uint32)

func init() { takeLines(unsafe.Pointer(&line), uint32(len(line))) }

// Tell ends the instance at a panic, with its message and places in the log. Every export defers it: the host learns of a trap, and
// no more.
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

// About is what a plugin says about itself. ConfigSchema is a JSON Schema, or empty.
type About struct {
	Name, Version, Summary, ConfigSchema string
}

// Input is an input that was asked for.
type Input int

// Values are those of the inputs, in the order in which they were asked for.
type Values []witTypes.Option[[]uint8]

// Bytes returns the value of an input, and whether there is one.
func (v Values) Bytes(input Input) ([]byte, bool) {
	if int(input) >= len(v) || v[input].IsNone() {
		return nil, false
	}
	return v[input].Some(), true
}

// Text returns the value of an input, or nothing if there is none.
func (v Values) Text(input Input) string {
	value, _ := v.Bytes(input)
	return string(value)
}

// Inputs are the names of inputs.
type Inputs []string

// Input asks for an input by the host's name for it, such as "header:x-user".
func (i *Inputs) Input(name string) Input {
	*i = append(*i, name)
	return Input(len(*i) - 1)
}

// Decode reads a configuration into config; a key that it has no field for is an error.
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

// Now is the time, in nanoseconds since the Unix epoch. Package time has none that means anything.
func Now() uint64 { return host.Now() }

// Random returns up to 4096 bytes that nobody can predict. Packages rand have none.
func Random(n uint32) []byte { return host.Random(n) }

// Count adds to a counter of the plugin's own.
func Count(metric string, by uint64) { host.Count(metric, by) }
