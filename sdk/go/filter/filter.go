// Package filter makes a filter plugin from a Go type.
package filter

import (
	"encoding/json"
	"reflect"
	"time"

	"wit_component/weir"
	filtering "wit_component/weir_plugin_filtering"
)

// Header is a header field, Edit a change to a message.
type (
	Header = filtering.Header
	Edit   = filtering.Edit
)

// Answer is the answer to a Fetch.
type Answer filtering.Reply

// Header returns the first value of a header field, or an empty text. The name is in lower case.
func (a *Answer) Header(name string) string {
	for _, header := range a.Headers {
		if header.Name == name {
			return string(header.Value)
		}
	}
	return ""
}

// RequestDecision is a filter's decision on a request: Next, Changes, Reply or Fetch.
type RequestDecision interface {
	Request() filtering.RequestDecision
}

// ResponseDecision is a filter's decision on a response: Next, Changes or Reply.
type ResponseDecision interface {
	Response() filtering.ResponseDecision
}

// Next lets the message go on unchanged.
type Next struct{}

func (Next) Request() filtering.RequestDecision   { return filtering.MakeRequestDecisionNext() }
func (Next) Response() filtering.ResponseDecision { return filtering.MakeResponseDecisionNext() }

// Changes lets the message go on with changes. Context comes back with the response.
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

// Append adds a field after the fields of the same name.
func (c *Changes) Append(name, value string) *Changes {
	return c.add(filtering.MakeEditAppend(Header{Name: name, Value: []byte(value)}))
}

// Remove removes every field of this name.
func (c *Changes) Remove(name string) *Changes { return c.add(filtering.MakeEditRemove(name)) }

// Path sets the path and query of a request.
func (c *Changes) Path(path string) *Changes { return c.add(filtering.MakeEditPath(path)) }

// Authority sets the host and port that the origin sees.
func (c *Changes) Authority(name string) *Changes { return c.add(filtering.MakeEditAuthority(name)) }

// Upstream sets the upstream that serves a request.
func (c *Changes) Upstream(name string) *Changes { return c.add(filtering.MakeEditUpstream(name)) }

// Status sets the status of a response.
func (c *Changes) Status(status uint16) *Changes { return c.add(filtering.MakeEditStatus(status)) }

// Attribute notes a value about the request, for its access record and its span.
func (c *Changes) Attribute(name, value string) *Changes {
	return c.add(filtering.MakeEditAttribute(filtering.Attribute{Name: name, Value: value}))
}

// Remember sets the context to a value as JSON. Recall returns it.
func (c *Changes) Remember(value any) *Changes {
	c.Context = remembered(value)
	return c
}

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

// Fetch makes the host send a request. OnFetch then decides.
type Fetch struct {
	// Upstream is the name of the upstream, Path the path and query.
	Upstream, Path string
	// Method is GET if it is empty. Authority is the client's own if it is empty.
	Method, Authority string
	Headers           []Header
	Body              []byte
	// Timeout is the time for the whole answer: 0 means 5 s, at most 60 s.
	Timeout time.Duration
	// Context comes back with the answer.
	Context []byte
}

// Header adds a header field.
func (f *Fetch) Header(name, value string) *Fetch {
	f.Headers = append(f.Headers, Header{Name: name, Value: []byte(value)})
	return f
}

// Remember sets the context to a value as JSON. Recall returns it.
func (f *Fetch) Remember(value any) *Fetch {
	f.Context = remembered(value)
	return f
}

func (f *Fetch) Request() filtering.RequestDecision {
	method := f.Method
	if method == "" {
		method = "GET"
	}
	return filtering.MakeRequestDecisionFetch(filtering.Fetch{
		Upstream: f.Upstream, Method: method, Path: f.Path, Authority: f.Authority, Headers: f.Headers,
		Body: f.Body, TimeoutMs: weir.Milliseconds(f.Timeout), Context: f.Context,
	})
}

func remembered(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// Recall reads the value that Remember kept. It returns whether there is one of this type.
func Recall(context []byte, value any) bool { return json.Unmarshal(context, value) == nil }

// Needs has the values that a filter needs from the host. A filter that is a Responder receives
// responses.
type Needs struct {
	weir.Inputs
	// Response has the inputs of each response.
	Response weir.InputsOf[weir.ResponseInput]
	// Pure promises that decisions depend only on the arguments of a call. The host may then remember
	// them.
	Pure bool
}

// Filter is the interface that a plugin implements.
type Filter interface {
	// OnRequest decides on a request.
	OnRequest(request weir.Values) RequestDecision
}

// Responder is a Filter that also decides on responses.
type Responder interface {
	OnResponse(status uint16, response weir.ResponseValues, context []byte) ResponseDecision
}

// Fetcher is a Filter that returns a Fetch. Without an answer, answer is nil and failure has the reason.
type Fetcher interface {
	OnFetch(context []byte, answer *Answer, failure string) RequestDecision
}

// Export registers a plugin: its description, and a function that makes a Filter from a
// configuration (JSON). Call it in an init function.
func Export(about weir.About, make func(config []byte, needs *Needs) (Filter, error)) {
	exported = plugin{about: about, make: make}
}

// The one plugin of a component. The exported functions call it.
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
	if err == nil {
		err = fits(exported.filter)
	}
	return needs, err
}

// The names are constants, so that the linker keeps no other methods.
func fits(filter Filter) error {
	plugin := reflect.TypeOf(filter)
	_, responds := filter.(Responder)
	if _, has := plugin.MethodByName("OnResponse"); has && !responds {
		return weir.Misfit("OnResponse", "filter.Responder")
	}
	_, fetches := filter.(Fetcher)
	if _, has := plugin.MethodByName("OnFetch"); has && !fetches {
		return weir.Misfit("OnFetch", "filter.Fetcher")
	}
	return nil
}

// Exported is called by the exports.
func Exported() Filter { return exported.filter }
