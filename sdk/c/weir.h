// The header of Weir plugins in C or C++: the bindings to the world, and short helpers for them.
//
// Memory: the bindings free the values that a plugin returns, so they must come from malloc. Every
// function here that makes a value copies its arguments. A plugin owns the values that it is given:
// call `weir_inputs_free` and similar functions at the end.
#ifndef WEIR_H
#define WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(WEIR_BALANCER)
#include "balancer.h"
typedef balancer_string_t weir_string;
typedef balancer_list_u8_t weir_bytes;
typedef balancer_list_string_t weir_strings;
typedef balancer_list_option_list_u8_t weir_inputs;
typedef balancer_manifest_t weir_manifest;
typedef balancer_balancer_needs_t weir_needs;
typedef balancer_endpoint_t weir_endpoint;
typedef balancer_list_endpoint_t weir_endpoints;
typedef balancer_list_u32_t weir_loads;
typedef balancer_outcome_t weir_outcome;
typedef balancer_list_outcome_t weir_outcomes;
#elif defined(WEIR_FILTER)
#include "filter.h"
typedef filter_string_t weir_string;
typedef filter_list_u8_t weir_bytes;
typedef filter_list_string_t weir_strings;
typedef filter_list_option_list_u8_t weir_inputs;
typedef filter_manifest_t weir_manifest;
typedef filter_filter_needs_t weir_needs;
typedef filter_request_decision_t weir_request_decision;
typedef filter_response_decision_t weir_response_decision;
typedef filter_result_reply_string_t weir_answer;
typedef weir_plugin_filtering_changes_t weir_changes;
typedef weir_plugin_filtering_reply_t weir_reply;
typedef weir_plugin_filtering_fetch_t weir_fetch;
#else
#error "weir plugin build defines WEIR_BALANCER or WEIR_FILTER"
#endif

// The load that marks an endpoint that the request has already tried.
#define WEIR_TRIED 2147483647u

// Makes a copy to return. `weir_copy` takes text that ends with a zero.
weir_string weir_copy(const char *text);
weir_string weir_copy_n(const void *text, size_t len);
weir_bytes weir_copy_bytes(const void *bytes, size_t len);

// Fills in the result of `describe`.
void weir_describe(weir_manifest *manifest, const char *name, const char *version, const char *summary,
                   const char *config_schema);

// Requests an input and returns its number.
size_t weir_need(weir_strings *inputs, const char *name, size_t len);

// Returns the value of an input, or null if the request has none. Valid until the inputs are freed.
const weir_bytes *weir_input(const weir_inputs *inputs, size_t input);
void weir_inputs_free(weir_inputs *inputs);

// Whether the bytes equal this text.
bool weir_is(const weir_bytes *bytes, const char *text);

// Whether bytes equal a secret. The time reveals nothing about the secret except its length.
bool weir_is_secret(const weir_bytes *bytes, const char *secret, size_t len);

// Writes a line to the host's log: at most 4 KiB, and 20 lines a second.
typedef enum { WEIR_DEBUG, WEIR_INFO, WEIR_WARN, WEIR_ERROR } weir_level;
void weir_log(weir_level level, const char *message);

// Returns the time, in microseconds since the Unix epoch.
uint64_t weir_now_us(void);

// Fills in unpredictable bytes, at most 4096.
void weir_random(void *bytes, size_t len);

// Adds to one of the plugin's own counters.
void weir_count(const char *metric, uint64_t by);

// Values that all instances of a plugin share. A space is "" for the plugin's own, or a name in its
// `allow.state`. A time to live is in milliseconds, or 0 for none. `weir_state_get` returns whether
// there is a value, and `weir_bytes_free` frees it. `weir_state_replace` sets a value if the present
// one is the expected one, or if there is none and the expected one is a null pointer. It returns
// whether it did.
int64_t weir_state_add(const char *space, const char *key, int64_t by, uint64_t ttl_ms);
bool weir_state_get(const char *space, const char *key, weir_bytes *value);
void weir_state_set(const char *space, const char *key, const void *value, size_t len, uint64_t ttl_ms);
bool weir_state_replace(const char *space, const char *key, const void *expected, size_t expected_len,
                        const void *value, size_t len, uint64_t ttl_ms);
void weir_state_remove(const char *space, const char *key);
void weir_bytes_free(weir_bytes *bytes);

#if defined(WEIR_FILTER)
// Makes a decision to go on with changes. The functions below add edits.
weir_changes *weir_edit(weir_request_decision *decision);
weir_changes *weir_edit_response(weir_response_decision *decision);
void weir_set(weir_changes *changes, const char *name, const void *value, size_t len);
void weir_append(weir_changes *changes, const char *name, const void *value, size_t len);
void weir_remove(weir_changes *changes, const char *name);
void weir_path(weir_changes *changes, const void *path, size_t len);
void weir_authority(weir_changes *changes, const void *authority, size_t len);
void weir_upstream(weir_changes *changes, const char *upstream);
void weir_status(weir_changes *changes, uint16_t status);
void weir_attribute(weir_changes *changes, const char *name, const void *value, size_t len);
void weir_context(weir_changes *changes, const void *context, size_t len);

// Makes a decision to answer. `weir_reply_header` adds header fields.
weir_reply *weir_answer_with(weir_request_decision *decision, uint16_t status, const char *body);
weir_reply *weir_answer_response(weir_response_decision *decision, uint16_t status, const char *body);
void weir_reply_header(weir_reply *reply, const char *name, const void *value, size_t len);

// Makes a decision to send a GET to an upstream first. `on_fetch` then decides, with the context and
// the answer. The time for the whole answer is `timeout_ms`: 0 for 5 s, at most 60 s.
weir_fetch *weir_ask(weir_request_decision *decision, const char *upstream, const void *path, size_t len);
void weir_fetch_header(weir_fetch *fetch, const char *name, const void *value, size_t len);
void weir_fetch_send(weir_fetch *fetch, const char *method, const void *body, size_t len);
void weir_fetch_context(weir_fetch *fetch, const void *context, size_t len);

// Returns the first value of a header field of an answer, or null. `name` is in lower case.
const weir_bytes *weir_field(const weir_reply *answer, const char *name);
void weir_answer_free(weir_answer *answer);
#endif

#ifdef __cplusplus
}
#endif
#endif
