// Package weir has what balancers and filters have in common.
package weir

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
	host "wit_component/weir_plugin_host"
)

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
