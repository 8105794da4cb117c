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

static void answer(char *words[5], int count, char *out, size_t size) {
  const char *key = count > 1 ? words[1] : "";
  snprintf(out, size, "done");
  if (!strcmp(words[0], "now")) {
    snprintf(out, size, "%" PRIu64, weir_now_us());
  } else if (!strcmp(words[0], "add")) {
    int64_t by = strtoll(words[2], NULL, 10);
    snprintf(out, size, "%" PRId64, weir_state_add("", key, by, strtoull(words[3], NULL, 10)));
  } else if (!strcmp(words[0], "get")) {
    weir_bytes value;
    if (weir_state_get("", key, &value)) {
      snprintf(out, size, "%.*s", (int)value.len, (char *)value.ptr);
      weir_bytes_free(&value);
    } else {
      snprintf(out, size, "none");
    }
  } else if (!strcmp(words[0], "set")) {
    weir_state_set("", key, words[2], strlen(words[2]), strtoull(words[3], NULL, 10));
  } else if (!strcmp(words[0], "replace")) {
    const char *expected = strcmp(words[2], "-") ? words[2] : NULL;
    size_t len = expected ? strlen(expected) : 0;
    bool did = weir_state_replace("", key, expected, len, words[3], strlen(words[3]), strtoull(words[4], NULL, 10));
    snprintf(out, size, did ? "true" : "false");
  } else if (!strcmp(words[0], "remove")) {
    weir_state_remove("", key);
  } else if (!strcmp(words[0], "random")) {
    uint8_t bytes[16];
    weir_random(bytes, sizeof bytes);
    for (size_t n = 0; n < sizeof bytes; n++) snprintf(out + 2 * n, 3, "%02x", bytes[n]);
  } else if (!strcmp(words[0], "count")) {
    weir_count(key, strtoull(words[2], NULL, 10));
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
