// Consistent hashing with bounded loads. examples/README.md describes it exactly.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir.h"
#include "weir_json.h"

typedef struct {
  uint32_t id;
  uint32_t weight;
  // The index in the update, which is also the index of the load.
  size_t index;
} member;

typedef struct {
  uint32_t hash;
  // The index of its member.
  uint32_t member;
} point;

static double factor = 1.25;
static member *members;
static size_t members_len;
static point *ring;
static size_t ring_len;

static const char SCHEMA[] =
    "{\"type\": [\"object\", \"null\"], \"additionalProperties\": false, \"properties\": {"
    "\"by\": {\"type\": \"string\", \"default\": \"client.address\", \"description\": \"The input that decides the endpoint\"},"
    "\"factor\": {\"type\": \"number\", \"minimum\": 1, \"default\": 1.25,"
    " \"description\": \"How much more than its share of the requests in flight an endpoint may have\"}}}";

void exports_balancer_describe(weir_manifest *manifest) {
  weir_describe(manifest, "bounded", "0.1.0", "Consistent hashing with bounded loads", SCHEMA);
}

// Reads the configuration. Returns the fault, or null.
static const char *read_config(const weir_json *config, weir_needs *needs) {
  if (!config) return "this is no JSON";
  const char *by = "client.address";
  size_t by_len = strlen(by);
  if (config->kind != WEIR_JSON_NULL) {
    if (config->kind != WEIR_JSON_OBJECT) return "it must be an object";
    if (weir_json_unknown(config, (const char *[]){"by", "factor", NULL})) return "its keys are by and factor";
    const weir_json *value = weir_json_get(config, "by");
    if (value) {
      if (value->kind != WEIR_JSON_STRING) return "by: it must be a string";
      by = value->text;
      by_len = value->len;
    }
    value = weir_json_get(config, "factor");
    if (value) {
      if (value->kind != WEIR_JSON_NUMBER) return "factor: it must be a number";
      factor = value->number;
      if (factor < 1) return "factor: it must be at least 1";
    }
  }
  needs->loads = true;
  weir_need(&needs->inputs, by, by_len);
  weir_need(&needs->inputs, "client.address", strlen("client.address"));
  return NULL;
}

bool exports_balancer_configure(weir_string *text, weir_needs *needs, weir_string *error) {
  memset(needs, 0, sizeof *needs);
  weir_json *config = weir_json_read(text->ptr, text->len);
  const char *fault = read_config(config, needs);
  if (fault) *error = weir_copy(fault);
  weir_json_free(config);
  balancer_string_free(text);
  return !fault;
}

// FNV-1a, then MurmurHash3's finalizer.
static uint32_t hash(const uint8_t *bytes, size_t len) {
  uint32_t h = 2166136261u;
  for (size_t n = 0; n < len; n++) h = (h ^ bytes[n]) * 16777619u;
  h = (h ^ h >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  return h ^ h >> 16;
}

static int by_hash(const void *a, const void *b) {
  const point *p = a, *q = b;
  if (p->hash != q->hash) return p->hash < q->hash ? -1 : 1;
  return p->member < q->member ? -1 : p->member > q->member;
}

static uint32_t points(uint32_t weight) { return 40 * (weight < 25 ? weight : 25); }

void exports_balancer_update(weir_endpoints *endpoints) {
  members_len = ring_len = 0;
  for (size_t n = 0; n < endpoints->len; n++) ring_len += points(endpoints->ptr[n].weight);
  members = realloc(members, (endpoints->len + 1) * sizeof *members);
  ring = realloc(ring, (ring_len + 1) * sizeof *ring);
  if (!members || !ring) abort();
  ring_len = 0;
  for (size_t n = 0; n < endpoints->len; n++) {
    const weir_endpoint *endpoint = &endpoints->ptr[n];
    if (!endpoint->weight) continue;
    for (uint32_t number = 0; number < points(endpoint->weight); number++) {
      char name[96];
      int len = snprintf(name, sizeof name, "%.*s#%u", (int)endpoint->address.len, (char *)endpoint->address.ptr, number);
      ring[ring_len++] = (point){hash((uint8_t *)name, (size_t)len), (uint32_t)members_len};
    }
    members[members_len++] = (member){endpoint->id, endpoint->weight, n};
  }
  qsort(ring, ring_len, sizeof *ring, by_hash);
  balancer_list_endpoint_free(endpoints);
}

static size_t start_of(uint32_t hash) {
  size_t low = 0, high = ring_len;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (ring[middle].hash < hash) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < ring_len ? low : 0;
}

static const member *choose(const weir_bytes *key, const uint32_t *loads) {
  if (!ring_len) return NULL;
  size_t start = start_of(key ? hash(key->ptr, key->len) : hash(NULL, 0));
  double total = 0, weights = 0;
  for (size_t n = 0; n < members_len; n++) {
    uint32_t load = loads[members[n].index];
    if (load == WEIR_TRIED) continue;
    total += load;
    weights += members[n].weight;
  }
  const member *untried = NULL;
  for (size_t n = 0; n < ring_len && weights > 0; n++) {
    const member *m = &members[ring[(start + n) % ring_len].member];
    uint32_t load = loads[m->index];
    if (load == WEIR_TRIED) continue;
    if (load < ceil(factor * (total + 1) * m->weight / weights)) return m;
    if (!untried) untried = m;
  }
  return untried ? untried : &members[ring[start].member];
}

bool exports_balancer_pick(uint64_t sequence, uint32_t attempt, weir_inputs *inputs, weir_loads *loads, uint32_t *id) {
  (void)sequence, (void)attempt;
  const weir_bytes *key = weir_input(inputs, 0);
  const member *chosen = choose(key ? key : weir_input(inputs, 1), loads->ptr);
  if (chosen) *id = chosen->id;
  weir_inputs_free(inputs);
  balancer_list_u32_free(loads);
  return chosen;
}

void exports_balancer_observe(weir_outcomes *outcomes) { balancer_list_outcome_free(outcomes); }
