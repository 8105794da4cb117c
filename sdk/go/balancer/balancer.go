// Package balancer makes a balancer plugin from a Go type.
package balancer

import (
	"reflect"

	"wit_component/weir"
	balancing "wit_component/weir_plugin_balancing"
)

// Tried is the load that marks an endpoint that the request has already tried.
const Tried uint32 = 2147483647

// Endpoint is a server that a balancer may choose.
type Endpoint = balancing.Endpoint

// Outcome is the outcome of a request.
type Outcome = balancing.Outcome

// Needs has the values that a balancer needs from the host.
type Needs struct {
	weir.Inputs
	// Sequence requests numbers from the upstream's counter, Loads the requests in flight, and
	// Outcomes the calls of Observe.
	Sequence, Loads, Outcomes bool
}

// Pick is a request that needs an endpoint.
type Pick struct {
	weir.Values
	// Sequence counts the requests of the upstream over all workers.
	Sequence uint64
	// Attempt counts the retries of the request.
	Attempt uint32
	// Loads has the requests in flight at each endpoint of the last update, in its order.
	Loads []uint32
}

// Balancer is the interface that a plugin implements.
type Balancer interface {
	// Update replaces the endpoints.
	Update(endpoints []Endpoint)
	// Pick chooses an endpoint by its id, or none.
	Pick(pick *Pick) (id uint32, ok bool)
}

// Observer is a Balancer that receives the outcomes of requests.
type Observer interface {
	Observe(outcomes []Outcome)
}

// Export registers a plugin: its description, and a function that makes a Balancer from a
// configuration (JSON). Call it in an init function.
func Export(about weir.About, make func(config []byte, needs *Needs) (Balancer, error)) {
	exported = plugin{about: about, make: make}
}

// The one plugin of a component. The exported functions call it.
type plugin struct {
	about    weir.About
	make     func([]byte, *Needs) (Balancer, error)
	balancer Balancer
}

var exported plugin

// Describe is called by the exports.
func Describe() weir.About { return exported.about }

// Configure is called by the exports.
func Configure(config string) (needs Needs, err error) {
	exported.balancer, err = exported.make([]byte(config), &needs)
	if err == nil {
		// The name is a constant, so that the linker keeps no other methods.
		_, observes := exported.balancer.(Observer)
		if _, has := reflect.TypeOf(exported.balancer).MethodByName("Observe"); has && !observes {
			err = weir.Misfit("Observe", "balancer.Observer")
		}
	}
	return needs, err
}

// Exported is called by the exports.
func Exported() Balancer { return exported.balancer }
