// Package plugin spreads requests in turn over one zone's endpoints, or over all if the zone has none.
package plugin

import (
	"wit_component/balancer"
	"wit_component/weir"
)

const schema = `{
  "type": ["object", "null"],
  "additionalProperties": false,
  "properties": { "zone": { "type": "string", "description": "The zone that comes first" } }
}`

func init() {
	balancer.Export(weir.About{
		Name: "@NAME@", Version: "0.1.0", Summary: "Endpoints of one zone first", ConfigSchema: schema,
	}, create)
}

type config struct {
	Zone string `json:"zone"`
}

type plugin struct {
	zone string
	ids  []uint32
}

func create(text []byte, needs *balancer.Needs) (balancer.Balancer, error) {
	var config config
	if err := weir.Decode(text, &config); err != nil {
		return nil, err
	}
	// A number for each request, counted over all workers.
	needs.Sequence = true
	return &plugin{zone: config.Zone}, nil
}

// Update is called with the healthy endpoints whenever they change, so there is nothing to search for in Pick.
func (p *plugin) Update(endpoints []balancer.Endpoint) {
	p.ids = nil
	var all []uint32
	for _, endpoint := range endpoints {
		all = append(all, endpoint.Id)
		if endpoint.Zone == p.zone {
			p.ids = append(p.ids, endpoint.Id)
		}
	}
	if len(p.ids) == 0 {
		p.ids = all
	}
}

func (p *plugin) Pick(pick *balancer.Pick) (uint32, bool) {
	if len(p.ids) == 0 {
		return 0, false
	}
	turn := pick.Sequence + uint64(pick.Attempt)
	return p.ids[turn%uint64(len(p.ids))], true
}
