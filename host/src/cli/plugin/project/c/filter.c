// Lets requests with a known tenant pass, and marks them as checked for the origin.
#include <stdlib.h>
#include <string.h>

#include "weir.h"
#include "weir_json.h"

// The tenants that may pass; null: all may. The configuration lives as long as the instance.
static const weir_json *tenants;
static size_t tenant_input;

static const char SCHEMA[] =
    "{\"type\": [\"object\", \"null\"], \"additionalProperties\": false, \"properties\": {"
    "\"header\": {\"type\": \"string\", \"default\": \"x-tenant\", \"description\": \"The header field that names the tenant\"},"
    "\"tenants\": {\"type\": \"array\", \"items\": {\"type\": \"string\"},"
    " \"description\": \"The tenants that may pass. If left out, all may\"}}}";

void exports_filter_describe(weir_manifest *manifest) {
  weir_describe(manifest, "@NAME@", "0.1.0", "Requests that name a tenant", SCHEMA);
}

static const char *check(const weir_json *config, char *input, size_t size) {
  strcpy(input, "header:x-tenant");
  if (!config) return "this is no JSON";
  if (config->kind == WEIR_JSON_NULL) return NULL;
  if (config->kind != WEIR_JSON_OBJECT) return "it must be an object";
  if (weir_json_unknown(config, (const char *[]){"header", "tenants", NULL})) return "its keys are header and tenants";
  const weir_json *header = weir_json_get(config, "header");
  if (header) {
    if (header->kind != WEIR_JSON_STRING || header->len + sizeof "header:" > size) return "header: it must be a name";
    strcpy(input + strlen("header:"), header->text);
  }
  tenants = weir_json_get(config, "tenants");
  if (tenants && tenants->kind != WEIR_JSON_ARRAY) return "tenants: it must be a list";
  for (const weir_json *tenant = tenants ? tenants->first : NULL; tenant; tenant = tenant->next)
    if (tenant->kind != WEIR_JSON_STRING) return "tenants: each must be a string";
  return NULL;
}

bool exports_filter_configure(weir_string *text, weir_needs *needs, weir_string *error) {
  char input[256];
  const char *fault = check(weir_json_read(text->ptr, text->len), input, sizeof input);
  filter_string_free(text);
  if (fault) {
    *error = weir_copy(fault);
    return false;
  }
  memset(needs, 0, sizeof *needs);
  needs->on_request = needs->on_response = true;
  // Each request comes with only the inputs that are requested here.
  tenant_input = weir_need(&needs->inputs, input, strlen(input));
  return true;
}

static bool is_known(const weir_bytes *tenant) {
  if (!tenants || !tenants->first) return true;
  for (const weir_json *known = tenants->first; known; known = known->next)
    if (weir_is(tenant, known->text)) return true;
  return false;
}

void exports_filter_on_request(weir_inputs *inputs, weir_request_decision *decision) {
  const weir_bytes *tenant = weir_input(inputs, tenant_input);
  if (tenant && is_known(tenant)) {
    weir_changes *changes = weir_edit(decision);
    weir_set(changes, "x-checked", "1", 1);
    // The context comes back with the response to this request.
    weir_context(changes, tenant->ptr, tenant->len);
  } else {
    weir_reply *reply = weir_answer_with(decision, 403, "unknown tenant\n");
    weir_reply_header(reply, "content-type", "text/plain", strlen("text/plain"));
  }
  weir_inputs_free(inputs);
}

void exports_filter_on_fetch(weir_bytes *context, weir_answer *answer, weir_request_decision *decision) {
  weir_bytes_free(context);
  weir_answer_free(answer);
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_NEXT;
}

void exports_filter_on_response(uint16_t status, weir_inputs *inputs, weir_bytes *context, weir_response_decision *decision) {
  (void)status;
  weir_changes *changes = weir_edit_response(decision);
  weir_set(changes, "x-tenant", context->ptr, context->len);
  weir_remove(changes, "server");
  weir_inputs_free(inputs);
  weir_bytes_free(context);
}
