// Package bounded is consistent hashing with bounded loads. examples/README.md describes it
// exactly.
package bounded

import (
	"errors"
	"math"
	"slices"
	"strconv"

	"wit_component/balancer"
	"wit_component/weir"
)

const schema = `{
  "type": ["object", "null"],
  "additionalProperties": false,
  "properties": {
    "by": { "type": "string", "default": "client.address", "description": "The input that decides the endpoint" },
    "factor": {
      "type": "number", "minimum": 1, "default": 1.25,
      "description": "How much more than its share of the requests in flight an endpoint may have"
    }
  }
}`

func init() {
	balancer.Export(weir.About{
		Name: "bounded", Version: "0.1.0", Summary: "Consistent hashing with bounded loads", ConfigSchema: schema,
	}, create)
}

type config struct {
	By     string  `json:"by"`
	Factor float64 `json:"factor"`
}

type bounded struct {
	factor     float64
	by, client weir.Input
	members    []member
	ring       []point
}

type member struct {
	id, weight uint32
	// The index in the update, which is also the index of the load.
	index int
}

type point struct {
	hash uint32
	// The index of its member.
	member int
}

func create(text []byte, needs *balancer.Needs) (balancer.Balancer, error) {
	config := config{By: "client.address", Factor: 1.25}
	if err := weir.Decode(text, &config); err != nil {
		return nil, err
	}
	if config.Factor < 1 {
		return nil, errors.New("factor: it must be at least 1")
	}
	needs.Loads = true
	return &bounded{factor: config.Factor, by: needs.Input(config.By), client: needs.Input("client.address")}, nil
}

func (b *bounded) Update(endpoints []balancer.Endpoint) {
	b.members, b.ring = nil, nil
	for index, endpoint := range endpoints {
		if endpoint.Weight == 0 {
			continue
		}
		for number := range 40 * min(int(endpoint.Weight), 25) {
			hash := hash([]byte(endpoint.Address + "#" + strconv.Itoa(number)))
			b.ring = append(b.ring, point{hash, len(b.members)})
		}
		b.members = append(b.members, member{endpoint.Id, endpoint.Weight, index})
	}
	slices.SortFunc(b.ring, func(p, q point) int {
		if p.hash != q.hash {
			return compare(p.hash, q.hash)
		}
		return p.member - q.member
	})
}

func (b *bounded) Pick(pick *balancer.Pick) (uint32, bool) {
	if len(b.ring) == 0 {
		return 0, false
	}
	key, ok := pick.Bytes(b.by)
	if !ok {
		key, _ = pick.Bytes(b.client)
	}
	start, _ := slices.BinarySearchFunc(b.ring, hash(key), func(p point, hash uint32) int { return compare(p.hash, hash) })

	total, weights := 0.0, 0.0
	for _, member := range b.members {
		if load := pick.Loads[member.index]; load != balancer.Tried {
			total += float64(load)
			weights += float64(member.weight)
		}
	}
	var untried *member
	for n := range b.ring {
		member := &b.members[b.ring[(start+n)%len(b.ring)].member]
		if weights == 0 {
			return member.id, true
		}
		load := pick.Loads[member.index]
		if load == balancer.Tried {
			continue
		}
		if float64(load) < math.Ceil(b.factor*(total+1)*float64(member.weight)/weights) {
			return member.id, true
		}
		if untried == nil {
			untried = member
		}
	}
	return untried.id, true
}

func compare(a, b uint32) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// FNV-1a, then MurmurHash3's finalizer.
func hash(bytes []byte) uint32 {
	h := uint32(2166136261)
	for _, b := range bytes {
		h = (h ^ uint32(b)) * 16777619
	}
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
