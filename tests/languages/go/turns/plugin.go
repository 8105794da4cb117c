// Package turns is the same as tests/guests/turns.
package turns

import (
	"fmt"

	"wit_component/balancer"
	"wit_component/weir"
)

func init() {
	balancer.Export(weir.About{Name: "turns", Version: "0.1.0", Summary: "Logs what it is told"}, create)
}

type turns struct{ command weir.Input }

func create(_ []byte, needs *balancer.Needs) (balancer.Balancer, error) {
	needs.Sequence, needs.Outcomes = true, true
	return &turns{needs.Input("header:x-do")}, nil
}

func (t *turns) Update([]balancer.Endpoint) {}

func (t *turns) Pick(pick *balancer.Pick) (uint32, bool) {
	if _, ok := pick.Bytes(t.command); ok {
		panic("broken on purpose")
	}
	weir.Log(weir.Info, fmt.Sprint("pick ", pick.Sequence))
	return 0, true
}

func (t *turns) Observe(outcomes []balancer.Outcome) {
	for _, outcome := range outcomes {
		weir.Log(weir.Info, fmt.Sprint("observe ", outcome.DurationUs))
	}
}
