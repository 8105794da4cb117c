// The same as tests/guests/turns.
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "weir.h"

void exports_balancer_describe(weir_manifest *manifest) {
  weir_describe(manifest, "turns", "0.1.0", "Logs what it is told", "");
}

bool exports_balancer_configure(weir_string *text, weir_needs *needs, weir_string *error) {
  (void)error;
  balancer_string_free(text);
  memset(needs, 0, sizeof *needs);
  needs->sequence = needs->outcomes = true;
  weir_need(&needs->inputs, "header:x-do", strlen("header:x-do"));
  return true;
}

static void tell(const char *what, uint64_t number) {
  char line[64];
  snprintf(line, sizeof line, "%s %" PRIu64, what, number);
  weir_log(WEIR_INFO, line);
}

void exports_balancer_update(weir_endpoints *endpoints) { balancer_list_endpoint_free(endpoints); }

bool exports_balancer_pick(uint64_t sequence, uint32_t attempt, weir_inputs *inputs, weir_loads *loads, uint32_t *id) {
  (void)attempt;
  assert(!weir_input(inputs, 0) && "broken on purpose");
  tell("pick", sequence);
  *id = 0;
  weir_inputs_free(inputs);
  balancer_list_u32_free(loads);
  return true;
}

void exports_balancer_observe(weir_outcomes *outcomes) {
  for (size_t n = 0; n < outcomes->len; n++) tell("observe", outcomes->ptr[n].duration_us);
  balancer_list_outcome_free(outcomes);
}
