// Package filter makes a filter of a Go type.
package filter

import (
	"wit_component/weir"
	filtering "wit_component/weir_plugin_filtering"
)

// Header is a header field, Edit a change to a message, Fetch a request that the host makes.
type (
	Header = filtering.Header
	Edit   = filtering.Edit
	Fetch  = filtering.Fetch
	Answer = filtering.Reply
)

// RequestDecision is what a filter makes of a request: Next, Changes, Reply or AskFirst.
type RequestDecision interface {
	Request() filtering.RequestDecision
}

// ResponseDecision is what a filter makes of a response: Next, Changes or Reply.
type ResponseDecision interface {
	Response() filtering.ResponseDecision
}

// Next goes on as it is.
type Next struct{}

func (Next) Request() filtering.RequestDecision   { return filtering.MakeRequestDecisionNext() }
func (Next) Response() filtering.ResponseDecision { return filtering.MakeResponseDecisionNext() }

// Changes goes on, changed. Context comes back with the response.
type Changes struct {
	Edits   []Edit
	Context []byte
}

func (c *Changes) add(edit Edit) *Changes {
	c.Edits = append(c.Edits, edit)
	return c
}

// Set replaces every field of this name with one.
func (c *Changes) Set(name, value string) *Changes {
	return c.add(filtering.MakeEditSet(Header{Name: name, Value: []byte(value)}))
}

// Append adds a field after those of its name.
func (c *Changes) Append(name, value string) *Changes {
	return c.add(filtering.MakeEditAppend(Header{Name: name, Value: []byte(value)}))
}

// Remove removes every field of this name.
func (c *Changes) Remove(name string) *Changes { return c.add(filtering.MakeEditRemove(name)) }

// Path sets a request's path and query.
func (c *Changes) Path(path string) *Changes { return c.add(filtering.MakeEditPath(path)) }

// Authority sets the host and port that the origin sees.
func (c *Changes) Authority(name string) *Changes { return c.add(filtering.MakeEditAuthority(name)) }

// Upstream sets the upstream that serves a request.
func (c *Changes) Upstream(name string) *Changes { return c.add(filtering.MakeEditUpstream(name)) }

// Status sets a response's status.
func (c *Changes) Status(status uint16) *Changes { return c.add(filtering.MakeEditStatus(status)) }

func (c *Changes) Request() filtering.RequestDecision {
	return filtering.MakeRequestDecisionEdit(filtering.Changes{Edits: c.Edits, Context: c.Context})
}

func (c *Changes) Response() filtering.ResponseDecision {
	return filtering.MakeResponseDecisionEdit(filtering.Changes{Edits: c.Edits, Context: c.Context})
}

// Reply is a whole response.
type Reply struct {
	Status  uint16
	Headers []Header
	Body    string
}

// Header adds a header field.
func (r *Reply) Header(name, value string) *Reply {
	r.Headers = append(r.Headers, Header{Name: name, Value: []byte(value)})
	return r
}

func (r *Reply) reply() filtering.Reply {
	return filtering.Reply{Status: r.Status, Headers: r.Headers, Body: []byte(r.Body)}
}

func (r *Reply) Request() filtering.RequestDecision {
	return filtering.MakeRequestDecisionReply(r.reply())
}

func (r *Reply) Response() filtering.ResponseDecision {
	return filtering.MakeResponseDecisionReply(r.reply())
}

// AskFirst has the host make a request; OnFetch decides then.
type AskFirst Fetch

func (f AskFirst) Request() filtering.RequestDecision {
	return filtering.MakeRequestDecisionFetch(Fetch(f))
}

// Needs is what a filter wants from the host. A filter that is a Responder is handed responses.
type Needs struct {
	weir.Inputs
	// Response has the inputs of each response.
	Response weir.Inputs
	// Pure says that decisions depend on nothing but what a call is given, so that the host may remember them.
	Pure bool
}

// Filter is what a plugin implements.
type Filter interface {
	// OnRequest decides on a request.
	OnRequest(request weir.Values) RequestDecision
}

// Responder is a Filter that also looks at responses.
type Responder interface {
	OnResponse(status uint16, response weir.Values, context []byte) ResponseDecision
}

// Fetcher is a Filter that asks first. The answer is nil if there is none; then failure says why.
type Fetcher interface {
	OnFetch(context []byte, answer *Answer, failure string) RequestDecision
}

// Export makes a plugin of a function that makes a Filter of a configuration (JSON). Call it in an init function.
func Export(about weir.About, make func(config []byte, needs *Needs) (Filter, error)) {
	exported = plugin{about: about, make: make}
}

// The one plugin of a component; the exported functions call it.
type plugin struct {
	about  weir.About
	make   func([]byte, *Needs) (Filter, error)
	filter Filter
}

var exported plugin

// Describe is called by the exports.
func Describe() weir.About { return exported.about }

// Configure is called by the exports.
func Configure(config string) (needs Needs, err error) {
	exported.filter, err = exported.make([]byte(config), &needs)
	return needs, err
}

// Exported is called by the exports.
func Exported() Filter { return exported.filter }
