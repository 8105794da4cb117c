// Package ledger is the same as tests/guests/ledger.
package ledger

import (
	"strconv"
	"strings"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/filter"
	"wit_component/weir"
	state "wit_component/weir_plugin_state"
)

func init() {
	filter.Export(weir.About{Name: "ledger", Version: "0.1.0", Summary: "Does with the host what a request says"}, create)
}

type ledger struct{ command weir.Input }

func create(_ []byte, needs *filter.Needs) (filter.Filter, error) {
	return &ledger{needs.Input("header:x-do")}, nil
}

func (l *ledger) OnRequest(request weir.Values) filter.RequestDecision {
	command, ok := request.Bytes(l.command)
	if !ok {
		return filter.Next{}
	}
	return &filter.Reply{Status: 200, Body: answer(strings.Split(string(command), " "))}
}

func answer(words []string) string {
	switch words[0] {
	case "now":
		return strconv.FormatUint(weir.Now(), 10)
	case "add":
		return strconv.FormatInt(state.Add("", words[1], signed(words[2]), unsigned(words[3])), 10)
	case "get":
		if value := state.Get("", words[1]); value.IsSome() {
			return string(value.Some())
		}
		return "none"
	case "set":
		state.Set("", words[1], []byte(words[2]), unsigned(words[3]))
		return "done"
	case "replace":
		expected := witTypes.None[[]byte]()
		if words[2] != "-" {
			expected = witTypes.Some([]byte(words[2]))
		}
		return strconv.FormatBool(state.Replace("", words[1], expected, []byte(words[3]), unsigned(words[4])))
	case "count":
		weir.Count(words[1], unsigned(words[2]))
		return "done"
	case "wait":
		<-make(chan int)
	case "print":
		println("printed on purpose")
		return "done"
	}
	panic("broken on purpose")
}

func signed(word string) int64 {
	number, _ := strconv.ParseInt(word, 10, 64)
	return number
}

func unsigned(word string) uint64 {
	number, _ := strconv.ParseUint(word, 10, 64)
	return number
}
