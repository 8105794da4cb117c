// The same as tests/guests/ledger.
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir.h"

static size_t command_input;

void exports_filter_describe(weir_manifest *manifest) {
  weir_describe(manifest, "ledger", "0.1.0", "Does with the host what a request says", "");
}

bool exports_filter_configure(weir_string *text, weir_needs *needs, weir_string *error) {
  (void)error;
  filter_string_free(text);
  memset(needs, 0, sizeof *needs);
  needs->on_request = true;
  command_input = weir_need(&needs->inputs, "header:x-do", strlen("header:x-do"));
  return true;
}

static filter_string_t text_of(char *word) { return (filter_string_t){.ptr = (uint8_t *)word, .len = strlen(word)}; }

static filter_list_u8_t bytes_of(char *word) { return (filter_list_u8_t){.ptr = (uint8_t *)word, .len = strlen(word)}; }

static void answer(char *words[5], int count, char *out, size_t size) {
  filter_string_t space = text_of(""), key = text_of(count > 1 ? words[1] : "");
  snprintf(out, size, "done");
  if (!strcmp(words[0], "now")) {
    snprintf(out, size, "%" PRIu64, weir_plugin_host_now());
  } else if (!strcmp(words[0], "add")) {
    int64_t by = strtoll(words[2], NULL, 10);
    snprintf(out, size, "%" PRId64, weir_plugin_state_add(&space, &key, by, strtoull(words[3], NULL, 10)));
  } else if (!strcmp(words[0], "get")) {
    filter_list_u8_t value;
    if (weir_plugin_state_get(&space, &key, &value)) {
      snprintf(out, size, "%.*s", (int)value.len, (char *)value.ptr);
      filter_list_u8_free(&value);
    } else {
      snprintf(out, size, "none");
    }
  } else if (!strcmp(words[0], "set")) {
    filter_list_u8_t value = bytes_of(words[2]);
    weir_plugin_state_set(&space, &key, &value, strtoull(words[3], NULL, 10));
  } else if (!strcmp(words[0], "replace")) {
    filter_list_u8_t expected = bytes_of(words[2]), value = bytes_of(words[3]);
    filter_list_u8_t *maybe = strcmp(words[2], "-") ? &expected : NULL;
    bool did = weir_plugin_state_replace(&space, &key, maybe, &value, strtoull(words[4], NULL, 10));
    snprintf(out, size, did ? "true" : "false");
  } else if (!strcmp(words[0], "count")) {
    weir_plugin_host_count(&key, strtoull(words[2], NULL, 10));
  } else if (!strcmp(words[0], "print")) {
    printf("printed on purpose\n");
  } else if (!strcmp(words[0], "abort")) {
    abort();
  } else {
    assert(!"broken on purpose");
  }
}

void exports_filter_on_request(weir_inputs *inputs, weir_request_decision *decision) {
  const weir_bytes *command = weir_input(inputs, command_input);
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_NEXT;
  if (command) {
    char line[256], out[256], *words[5] = {line};
    int count = 1;
    snprintf(line, sizeof line, "%.*s", (int)command->len, (char *)command->ptr);
    for (char *at = line; *at; at++)
      if (*at == ' ' && count < 5) *at = 0, words[count++] = at + 1;
    answer(words, count, out, sizeof out);
    weir_answer_with(decision, 200, out);
  }
  weir_inputs_free(inputs);
}

void exports_filter_on_fetch(weir_bytes *context, weir_answer *answer, weir_request_decision *decision) {
  filter_list_u8_free(context);
  filter_result_reply_string_free(answer);
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_NEXT;
}

void exports_filter_on_response(uint16_t status, weir_inputs *inputs, weir_bytes *context, weir_response_decision *decision) {
  (void)status;
  weir_inputs_free(inputs);
  filter_list_u8_free(context);
  decision->tag = WEIR_PLUGIN_FILTERING_RESPONSE_DECISION_NEXT;
}
