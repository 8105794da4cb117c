// Package ledger is the same as tests/guests/ledger.
package ledger

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"

	"wit_component/filter"
	"wit_component/weir"
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

const own weir.State = ""

func answer(words []string) string {
	switch words[0] {
	case "now":
		return strconv.FormatInt(weir.Now().UnixMicro(), 10)
	case "add":
		return strconv.FormatInt(own.Add(words[1], signed(words[2]), live(words[3])), 10)
	case "get":
		if value, ok := own.Get(words[1]); ok {
			return string(value)
		}
		return "none"
	case "set":
		own.Set(words[1], []byte(words[2]), live(words[3]))
		return "done"
	case "replace":
		var expected []byte
		if words[2] != "-" {
			expected = []byte(words[2])
		}
		return strconv.FormatBool(own.Replace(words[1], expected, []byte(words[3]), live(words[4])))
	case "remove":
		own.Remove(words[1])
		return "done"
	case "random":
		return hex.EncodeToString(weir.Random(16))
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

// A Duration holds 292 years.
func live(word string) time.Duration {
	return time.Duration(min(unsigned(word), math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

func unsigned(word string) uint64 {
	number, _ := strconv.ParseUint(word, 10, 64)
	return number
}
