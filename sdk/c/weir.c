#include "weir.h"

#include <stdlib.h>
#include <string.h>

// Text on standard output and error, also of a failed assertion, goes to the host's log line by
// line.
__attribute__((import_module("wasi_snapshot_preview1"), import_name("weir_lines"))) void weir_lines(char *line, size_t room);
static char line[1024];
__attribute__((constructor(101))) static void take_lines(void) { weir_lines(line, sizeof line); }

// Running out of memory ends the instance. The host starts a fresh one.
static void *allocate(void *old, size_t size) {
  void *new = realloc(old, size ? size : 1);
  if (!new) __builtin_trap();
  return new;
}

// An empty copy has no memory: the bindings free only values with a length.
weir_string weir_copy_n(const void *text, size_t len) {
  weir_string copy = {.ptr = len ? allocate(NULL, len) : NULL, .len = len};
  if (len) memcpy(copy.ptr, text, len);
  return copy;
}

weir_string weir_copy(const char *text) { return weir_copy_n(text, strlen(text)); }

weir_bytes weir_copy_bytes(const void *bytes, size_t len) {
  weir_string copy = weir_copy_n(bytes, len);
  return (weir_bytes){.ptr = copy.ptr, .len = copy.len};
}

void weir_describe(weir_manifest *manifest, const char *name, const char *version, const char *summary,
                   const char *config_schema) {
  manifest->name = weir_copy(name);
  manifest->version = weir_copy(version);
  manifest->summary = weir_copy(summary);
  manifest->config_schema = weir_copy(config_schema);
}

size_t weir_need(weir_strings *inputs, const char *name, size_t len) {
  inputs->ptr = allocate(inputs->ptr, (inputs->len + 1) * sizeof *inputs->ptr);
  inputs->ptr[inputs->len] = weir_copy_n(name, len);
  return inputs->len++;
}

const weir_bytes *weir_input(const weir_inputs *inputs, size_t input) {
  if (input >= inputs->len || !inputs->ptr[input].is_some) return NULL;
  return (const weir_bytes *)&inputs->ptr[input].val;
}

bool weir_is(const weir_bytes *bytes, const char *text) {
  return bytes && bytes->len == strlen(text) && !memcmp(bytes->ptr, text, bytes->len);
}

bool weir_is_secret(const weir_bytes *bytes, const char *secret, size_t len) {
  volatile uint8_t differences = !bytes || bytes->len != len;
  for (size_t n = 0; bytes && n < len && n < bytes->len; n++) differences |= bytes->ptr[n] ^ (uint8_t)secret[n];
  return !differences;
}

// The functions of the host copy the values of arguments, so these need no memory of their own.
static weir_string lent(const char *text) { return (weir_string){.ptr = (uint8_t *)text, .len = strlen(text)}; }

static weir_bytes lent_bytes(const void *bytes, size_t len) { return (weir_bytes){.ptr = (uint8_t *)bytes, .len = len}; }

void weir_log(weir_level level, const char *message) {
  weir_string text = lent(message);
  weir_plugin_host_log((weir_plugin_host_level_t)level, &text);
}

uint64_t weir_now_us(void) { return weir_plugin_host_now_us(); }

void weir_random(void *bytes, size_t len) {
  weir_bytes given;
  weir_plugin_host_random((uint32_t)len, &given);
  memcpy(bytes, given.ptr, len);
  weir_bytes_free(&given);
}

void weir_count(const char *metric, uint64_t by) {
  weir_string name = lent(metric);
  weir_plugin_host_count(&name, by);
}

int64_t weir_state_add(const char *space, const char *key, int64_t by, uint64_t ttl_ms) {
  weir_string in = lent(space), name = lent(key);
  return weir_plugin_state_add(&in, &name, by, ttl_ms);
}

bool weir_state_get(const char *space, const char *key, weir_bytes *value) {
  weir_string in = lent(space), name = lent(key);
  return weir_plugin_state_get(&in, &name, value);
}

void weir_state_set(const char *space, const char *key, const void *value, size_t len, uint64_t ttl_ms) {
  weir_string in = lent(space), name = lent(key);
  weir_bytes bytes = lent_bytes(value, len);
  weir_plugin_state_set(&in, &name, &bytes, ttl_ms);
}

bool weir_state_replace(const char *space, const char *key, const void *expected, size_t expected_len,
                        const void *value, size_t len, uint64_t ttl_ms) {
  weir_string in = lent(space), name = lent(key);
  weir_bytes old = lent_bytes(expected, expected_len), bytes = lent_bytes(value, len);
  return weir_plugin_state_replace(&in, &name, expected ? &old : NULL, &bytes, ttl_ms);
}

void weir_state_remove(const char *space, const char *key) {
  weir_string in = lent(space), name = lent(key);
  weir_plugin_state_remove(&in, &name);
}

#if defined(WEIR_BALANCER)
void weir_bytes_free(weir_bytes *bytes) { balancer_list_u8_free(bytes); }
void weir_inputs_free(weir_inputs *inputs) { balancer_list_option_list_u8_free(inputs); }
#endif

#if defined(WEIR_FILTER)
void weir_bytes_free(weir_bytes *bytes) { filter_list_u8_free(bytes); }
void weir_inputs_free(weir_inputs *inputs) { filter_list_option_list_u8_free(inputs); }

weir_changes *weir_edit(weir_request_decision *decision) {
  memset(decision, 0, sizeof *decision);
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_EDIT;
  return &decision->val.edit;
}

weir_changes *weir_edit_response(weir_response_decision *decision) {
  memset(decision, 0, sizeof *decision);
  decision->tag = WEIR_PLUGIN_FILTERING_RESPONSE_DECISION_EDIT;
  return &decision->val.edit;
}

static weir_plugin_filtering_edit_t *add(weir_changes *changes, uint8_t tag) {
  changes->edits.ptr = allocate(changes->edits.ptr, (changes->edits.len + 1) * sizeof *changes->edits.ptr);
  weir_plugin_filtering_edit_t *edit = &changes->edits.ptr[changes->edits.len++];
  edit->tag = tag;
  return edit;
}

static weir_plugin_filtering_header_t header(const char *name, const void *value, size_t len) {
  return (weir_plugin_filtering_header_t){.name = weir_copy(name), .value = weir_copy_bytes(value, len)};
}

void weir_set(weir_changes *changes, const char *name, const void *value, size_t len) {
  add(changes, WEIR_PLUGIN_FILTERING_EDIT_SET)->val.set = header(name, value, len);
}

void weir_append(weir_changes *changes, const char *name, const void *value, size_t len) {
  add(changes, WEIR_PLUGIN_FILTERING_EDIT_APPEND)->val.append = header(name, value, len);
}

void weir_remove(weir_changes *changes, const char *name) {
  add(changes, WEIR_PLUGIN_FILTERING_EDIT_REMOVE)->val.remove = weir_copy(name);
}

void weir_path(weir_changes *changes, const void *path, size_t len) {
  add(changes, WEIR_PLUGIN_FILTERING_EDIT_PATH)->val.path = weir_copy_n(path, len);
}

void weir_authority(weir_changes *changes, const void *authority, size_t len) {
  add(changes, WEIR_PLUGIN_FILTERING_EDIT_AUTHORITY)->val.authority = weir_copy_n(authority, len);
}

void weir_upstream(weir_changes *changes, const char *upstream) {
  add(changes, WEIR_PLUGIN_FILTERING_EDIT_UPSTREAM)->val.upstream = weir_copy(upstream);
}

void weir_status(weir_changes *changes, uint16_t status) {
  add(changes, WEIR_PLUGIN_FILTERING_EDIT_STATUS)->val.status = status;
}

void weir_attribute(weir_changes *changes, const char *name, const void *value, size_t len) {
  weir_plugin_filtering_attribute_t attribute = {.name = weir_copy(name), .value = weir_copy_n(value, len)};
  add(changes, WEIR_PLUGIN_FILTERING_EDIT_ATTRIBUTE)->val.attribute = attribute;
}

void weir_context(weir_changes *changes, const void *context, size_t len) {
  filter_list_u8_free(&changes->context);
  changes->context = weir_copy_bytes(context, len);
}

weir_reply *weir_answer_with(weir_request_decision *decision, uint16_t status, const char *body) {
  memset(decision, 0, sizeof *decision);
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_REPLY;
  decision->val.reply.status = status;
  decision->val.reply.body = weir_copy_bytes(body, strlen(body));
  return &decision->val.reply;
}

weir_reply *weir_answer_response(weir_response_decision *decision, uint16_t status, const char *body) {
  memset(decision, 0, sizeof *decision);
  decision->tag = WEIR_PLUGIN_FILTERING_RESPONSE_DECISION_REPLY;
  decision->val.reply.status = status;
  decision->val.reply.body = weir_copy_bytes(body, strlen(body));
  return &decision->val.reply;
}

static void add_header(weir_plugin_filtering_list_header_t *all, const char *name, const void *value, size_t len) {
  all->ptr = allocate(all->ptr, (all->len + 1) * sizeof *all->ptr);
  all->ptr[all->len++] = header(name, value, len);
}

void weir_reply_header(weir_reply *reply, const char *name, const void *value, size_t len) {
  add_header(&reply->headers, name, value, len);
}

weir_fetch *weir_ask(weir_request_decision *decision, const char *upstream, const void *path, size_t len) {
  memset(decision, 0, sizeof *decision);
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_FETCH;
  weir_fetch *fetch = &decision->val.fetch;
  fetch->upstream = weir_copy(upstream);
  fetch->method = weir_copy("GET");
  fetch->path = weir_copy_n(path, len);
  return fetch;
}

void weir_fetch_header(weir_fetch *fetch, const char *name, const void *value, size_t len) {
  add_header(&fetch->headers, name, value, len);
}

void weir_fetch_send(weir_fetch *fetch, const char *method, const void *body, size_t len) {
  filter_string_free(&fetch->method);
  fetch->method = weir_copy(method);
  filter_list_u8_free(&fetch->body);
  fetch->body = weir_copy_bytes(body, len);
}

void weir_fetch_context(weir_fetch *fetch, const void *context, size_t len) {
  filter_list_u8_free(&fetch->context);
  fetch->context = weir_copy_bytes(context, len);
}

const weir_bytes *weir_field(const weir_reply *answer, const char *name) {
  for (size_t n = 0; n < answer->headers.len; n++) {
    const weir_plugin_filtering_header_t *field = &answer->headers.ptr[n];
    if (field->name.len == strlen(name) && !memcmp(field->name.ptr, name, field->name.len)) {
      return (const weir_bytes *)&field->value;
    }
  }
  return NULL;
}

void weir_answer_free(weir_answer *answer) { filter_result_reply_string_free(answer); }
#endif
