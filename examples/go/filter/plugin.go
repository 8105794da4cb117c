// Package tenants is a filter with the policy of a tenant's requests. examples/README.md describes
// it exactly.
package tenants

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

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
    },
    "directory": { "type": "string", "description": "The upstream that knows the plans of further tenants" },
    "quota": {
      "type": "integer", "minimum": 1, "maximum": 2147483647,
      "description": "The requests that a tenant may make in a minute"
    },
    "key": {
      "type": "string", "minLength": 1, "x-weir-secret": true,
      "description": "Requests with this value of x-key pass without a tenant"
    }
  }
}`

func init() {
	filter.Export(weir.About{
		Name: "tenants", Version: "0.1.0", Summary: "The policy of a tenant's requests", ConfigSchema: schema,
	}, create)
}

type config struct {
	Tenants   map[string]policy `json:"tenants"`
	Directory string            `json:"directory"`
	Quota     int64             `json:"quota"`
	// Weir replaces a reference to a secret by its value.
	Key string `json:"key"`
}

type policy struct {
	Prefix  *string  `json:"prefix"`
	Plan    *string  `json:"plan"`
	Methods []string `json:"methods"`
	MaxBody *uint32  `json:"max_body"`
}

type tenants struct {
	config
	tenant, key, method, path, length weir.Input
}

// The plugin's own space of the state, and the time for which its values count.
const (
	own  weir.State = ""
	kept            = time.Minute
)

func create(text []byte, needs *filter.Needs) (filter.Filter, error) {
	config := config{Quota: math.MaxInt32}
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
	if config.Quota < 1 || config.Quota > math.MaxInt32 {
		return nil, errors.New("quota: it must be from 1 to 2147483647")
	}
	return &tenants{
		config: config,
		tenant: needs.Input("header:x-tenant"),
		key:    needs.Input("header:x-key"),
		method: needs.Input(":method"),
		path:   needs.Input(":path"),
		length: needs.Input("header:content-length"),
	}, nil
}

func (t *tenants) OnRequest(request weir.Values) filter.RequestDecision {
	if given, ok := request.Bytes(t.key); ok && t.Key != "" {
		if subtle.ConstantTimeCompare(given, []byte(t.Key)) == 0 {
			return refuse(403, "wrong key\n")
		}
		return new(filter.Changes).Remove("x-key").Attribute("by", "key")
	}
	bytes, ok := request.Bytes(t.tenant)
	tenant := string(bytes)
	policy, known := t.Tenants[tenant]
	switch {
	case ok && known:
		return t.decide(tenant, &policy, request)
	case ok && t.Directory != "" && name.MatchString(tenant):
		return t.lookUp(tenant)
	default:
		return refuse(403, "unknown tenant\n")
	}
}

// Whether the directory may be asked for a tenant of this name.
var name = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// Decides by what the directory said about the tenant in the last minute, or asks it.
func (t *tenants) lookUp(tenant string) filter.RequestDecision {
	value, ok := own.Get("tenant/" + tenant)
	if !ok {
		return &filter.Fetch{
			Upstream: t.Directory, Path: "/tenants/" + tenant, Timeout: 2 * time.Second, Context: []byte(tenant),
		}
	}
	if plan, ok := strings.CutPrefix(string(value), "+"); ok {
		return t.decide(tenant, withPlan(plan), nil)
	}
	return refuse(403, "unknown tenant\n")
}

func (t *tenants) OnFetch(context []byte, answer *filter.Answer, failure string) filter.RequestDecision {
	tenant := string(context)
	switch {
	case answer != nil && answer.Status == 200:
		plan := answer.Header("x-plan")
		own.Set("tenant/"+tenant, []byte("+"+plan), kept)
		return t.decide(tenant, withPlan(plan), nil)
	case answer != nil && answer.Status == 404:
		own.Set("tenant/"+tenant, []byte("-"), kept)
		return refuse(403, "unknown tenant\n")
	default:
		weir.Count("undecided", 1)
		return refuse(503, "no directory\n")
	}
}

func withPlan(plan string) *policy {
	if plan == "" {
		return &policy{}
	}
	return &policy{Plan: &plan}
}

// Decides by a policy. Without the request it is one of the directory, which has only a plan.
func (t *tenants) decide(tenant string, policy *policy, request weir.Values) filter.RequestDecision {
	if policy.Methods != nil && !slices.Contains(policy.Methods, request.Text(t.method)) {
		return refuse(405, "method not allowed\n").Header("allow", strings.Join(policy.Methods, ", "))
	}
	if length, ok := request.Bytes(t.length); ok && policy.MaxBody != nil && !fits(length, *policy.MaxBody) {
		return refuse(413, "body too large\n")
	}
	if t.Quota < math.MaxInt32 && own.Add("quota/"+tenant, 1, time.Minute) > t.Quota {
		weir.Count("limited", 1)
		return refuse(429, "too many requests\n").Header("retry-after", "60")
	}
	if policy.Prefix == nil && policy.Plan == nil {
		return filter.Next{}
	}
	changes := &filter.Changes{Context: []byte(tenant)}
	if path := request.Text(t.path); policy.Prefix != nil && strings.HasPrefix(path, "/") {
		changes.Path(*policy.Prefix + path)
	}
	if policy.Plan != nil {
		changes.Set("x-plan", *policy.Plan).Attribute("plan", *policy.Plan)
	}
	return changes
}

func (t *tenants) OnResponse(status uint16, response weir.ResponseValues, context []byte) filter.ResponseDecision {
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
