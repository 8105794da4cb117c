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

#if defined(WEIR_BALANCER)
void weir_inputs_free(weir_inputs *inputs) { balancer_list_option_list_u8_free(inputs); }
#endif

#if defined(WEIR_FILTER)
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

void weir_reply_header(weir_reply *reply, const char *name, const void *value, size_t len) {
  reply->headers.ptr = allocate(reply->headers.ptr, (reply->headers.len + 1) * sizeof *reply->headers.ptr);
  reply->headers.ptr[reply->headers.len++] = header(name, value, len);
}
#endif
