// Package plugin lets requests with a known tenant pass, and marks them as checked for the origin.
package plugin

import (
	"slices"

	"wit_component/filter"
	"wit_component/weir"
)

const schema = `{
  "type": ["object", "null"],
  "additionalProperties": false,
  "properties": {
    "header": { "type": "string", "default": "x-tenant", "description": "The header field that names the tenant" },
    "tenants": {
      "type": "array", "items": { "type": "string" },
      "description": "The tenants that may pass. If left out, all may"
    }
  }
}`

func init() {
	filter.Export(weir.About{
		Name: "@NAME@", Version: "0.1.0", Summary: "Requests that name a tenant", ConfigSchema: schema,
	}, create)
}

type config struct {
	Header  string   `json:"header"`
	Tenants []string `json:"tenants"`
}

type plugin struct {
	tenants []string
	tenant  weir.Input
}

func create(text []byte, needs *filter.Needs) (filter.Filter, error) {
	config := config{Header: "x-tenant"}
	if err := weir.Decode(text, &config); err != nil {
		return nil, err
	}
	// Each request comes with only the inputs that are requested here.
	return &plugin{tenants: config.Tenants, tenant: needs.Input("header:" + config.Header)}, nil
}

func (p *plugin) OnRequest(request weir.Values) filter.RequestDecision {
	tenant, ok := request.Bytes(p.tenant)
	if !ok || len(p.tenants) > 0 && !slices.Contains(p.tenants, string(tenant)) {
		reply := &filter.Reply{Status: 403, Body: "unknown tenant\n"}
		return reply.Header("content-type", "text/plain")
	}
	// The context comes back with the response to this request.
	changes := &filter.Changes{Context: tenant}
	return changes.Set("x-checked", "1")
}

func (p *plugin) OnResponse(status uint16, response weir.ResponseValues, context []byte) filter.ResponseDecision {
	changes := &filter.Changes{}
	return changes.Set("x-tenant", string(context)).Remove("server")
}
