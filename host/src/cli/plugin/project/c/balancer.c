// Spreads requests in turn over one zone's endpoints, or over all if the zone has none.
#include <stdlib.h>
#include <string.h>

#include "weir.h"
#include "weir_json.h"

static char *zone;
static uint32_t *ids;
static size_t ids_len;

static const char SCHEMA[] =
    "{\"type\": [\"object\", \"null\"], \"additionalProperties\": false, \"properties\": {"
    "\"zone\": {\"type\": \"string\", \"description\": \"The zone that comes first\"}}}";

void exports_balancer_describe(weir_manifest *manifest) {
  weir_describe(manifest, "@NAME@", "0.1.0", "Endpoints of one zone first", SCHEMA);
}

bool exports_balancer_configure(weir_string *text, weir_needs *needs, weir_string *error) {
  weir_json *config = weir_json_read(text->ptr, text->len);
  balancer_string_free(text);
  const weir_json *value = config ? weir_json_get(config, "zone") : NULL;
  const char *keys[] = {"zone", NULL}, *fault = NULL;
  if (!config || (config->kind != WEIR_JSON_OBJECT && config->kind != WEIR_JSON_NULL)) {
    fault = "it must be an object";
  } else if (weir_json_unknown(config, keys)) {
    fault = "its only key is zone";
  } else if (value && value->kind != WEIR_JSON_STRING) {
    fault = "zone: it must be a string";
  }
  zone = strdup(value && !fault ? value->text : "");
  weir_json_free(config);
  if (fault) {
    *error = weir_copy(fault);
    return false;
  }
  memset(needs, 0, sizeof *needs);
  // A number for each request, counted over all workers.
  needs->sequence = true;
  return true;
}

static bool is_here(const weir_endpoint *endpoint) {
  return endpoint->zone.len == strlen(zone) && !memcmp(endpoint->zone.ptr, zone, endpoint->zone.len);
}

// Weir calls this with the healthy endpoints at each change. `pick` has nothing to search.
void exports_balancer_update(weir_endpoints *endpoints) {
  size_t here = 0;
  for (size_t n = 0; n < endpoints->len; n++) here += is_here(&endpoints->ptr[n]);
  free(ids);
  ids = malloc((endpoints->len + 1) * sizeof *ids);
  if (!ids) abort();
  ids_len = 0;
  for (size_t n = 0; n < endpoints->len; n++) {
    const weir_endpoint *endpoint = &endpoints->ptr[n];
    if (here == 0 || is_here(endpoint)) ids[ids_len++] = endpoint->id;
  }
  balancer_list_endpoint_free(endpoints);
}

bool exports_balancer_pick(uint64_t sequence, uint32_t attempt, weir_inputs *inputs, weir_loads *loads, uint32_t *id) {
  if (ids_len) *id = ids[(sequence + attempt) % ids_len];
  weir_inputs_free(inputs);
  balancer_list_u32_free(loads);
  return ids_len > 0;
}

void exports_balancer_observe(weir_outcomes *outcomes) { balancer_list_outcome_free(outcomes); }
