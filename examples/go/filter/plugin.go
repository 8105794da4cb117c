// Package tenants is a filter with the policy of a tenant's requests. examples/README.md describes
// it exactly.
package tenants

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"wit_component/filter"
	"wit_component/weir"
)

const schema = `{
  "type": "object",
  "required": ["tenants"],
  "additionalProperties": false,
  "properties": {
    "tenants": {
      "type": "object",
      "additionalProperties": {
        "type": "object",
        "additionalProperties": false,
        "properties": {
          "prefix": { "type": "string", "pattern": "^/.*[^/]$", "description": "The prefix of the path" },
          "plan": { "type": "string", "description": "The value of x-plan for the origin" },
          "methods": { "type": "array", "items": { "type": "string" }, "description": "The methods that are allowed" },
          "max_body": {
            "type": "integer", "minimum": 0, "maximum": 2147483647,
            "description": "The largest content-length that is allowed"
          }
        }
      }
    }
  }
}`

func init() {
	filter.Export(weir.About{
		Name: "tenants", Version: "0.1.0", Summary: "The policy of a tenant's requests", ConfigSchema: schema,
	}, create)
}

type config struct {
	Tenants map[string]policy `json:"tenants"`
}

type policy struct {
	Prefix  *string  `json:"prefix"`
	Plan    *string  `json:"plan"`
	Methods []string `json:"methods"`
	MaxBody *uint32  `json:"max_body"`
}

type tenants struct {
	policies                     map[string]policy
	tenant, method, path, length weir.Input
}

func create(text []byte, needs *filter.Needs) (filter.Filter, error) {
	var config config
	if err := weir.Decode(text, &config); err != nil {
		return nil, err
	}
	if config.Tenants == nil {
		return nil, errors.New("tenants: it must be there")
	}
	for name, policy := range config.Tenants {
		if prefix := policy.Prefix; prefix != nil && (!strings.HasPrefix(*prefix, "/") || strings.HasSuffix(*prefix, "/")) {
			return nil, fmt.Errorf("tenants.%s.prefix: it must begin with a slash and not end with one", name)
		}
		if policy.MaxBody != nil && *policy.MaxBody > 2147483647 {
			return nil, fmt.Errorf("tenants.%s.max_body: it is too large", name)
		}
	}
	return &tenants{
		policies: config.Tenants,
		tenant:   needs.Input("header:x-tenant"),
		method:   needs.Input(":method"),
		path:     needs.Input(":path"),
		length:   needs.Input("header:content-length"),
	}, nil
}

func (t *tenants) OnRequest(request weir.Values) filter.RequestDecision {
	tenant, ok := request.Bytes(t.tenant)
	policy, known := t.policies[string(tenant)]
	if !ok || !known {
		return refuse(403, "unknown tenant\n")
	}
	if policy.Methods != nil && !slices.Contains(policy.Methods, request.Text(t.method)) {
		return refuse(405, "method not allowed\n").Header("allow", strings.Join(policy.Methods, ", "))
	}
	if length, ok := request.Bytes(t.length); ok && policy.MaxBody != nil && !fits(length, *policy.MaxBody) {
		return refuse(413, "body too large\n")
	}
	if policy.Prefix == nil && policy.Plan == nil {
		return filter.Next{}
	}
	changes := &filter.Changes{Context: tenant}
	if path := request.Text(t.path); policy.Prefix != nil && strings.HasPrefix(path, "/") {
		changes.Path(*policy.Prefix + path)
	}
	if policy.Plan != nil {
		changes.Set("x-plan", *policy.Plan)
	}
	return changes
}

func (t *tenants) OnResponse(status uint16, response weir.Values, context []byte) filter.ResponseDecision {
	if len(context) == 0 {
		return filter.Next{}
	}
	return new(filter.Changes).Set("x-tenant", string(context))
}

func refuse(status uint16, body string) *filter.Reply {
	reply := &filter.Reply{Status: status, Body: body}
	return reply.Header("content-type", "text/plain")
}

// Whether a content-length is a number and at most `most`.
func fits(length []byte, most uint32) bool {
	sum := uint64(0)
	for _, digit := range length {
		if digit < '0' || digit > '9' {
			return false
		}
		sum = min(sum*10+uint64(digit-'0'), 1<<32)
	}
	return len(length) > 0 && sum <= uint64(most)
}
