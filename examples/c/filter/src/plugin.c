// The policy of a tenant's requests. examples/README.md describes it exactly.
#include <stdlib.h>
#include <string.h>

#include "weir.h"
#include "weir_json.h"

// The parsed configuration, which lives as long as the instance.
static const weir_json *tenants;
static size_t tenant_input, method_input, path_input, length_input;

static const char SCHEMA[] =
    "{\"type\": \"object\", \"required\": [\"tenants\"], \"additionalProperties\": false, \"properties\": {\"tenants\": {"
    "\"type\": \"object\", \"additionalProperties\": {\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
    "\"prefix\": {\"type\": \"string\", \"pattern\": \"^/.*[^/]$\", \"description\": \"The prefix of the path\"},"
    "\"plan\": {\"type\": \"string\", \"description\": \"The value of x-plan for the origin\"},"
    "\"methods\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}, \"description\": \"The methods that are allowed\"},"
    "\"max_body\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 2147483647,"
    " \"description\": \"The largest content-length that is allowed\"}}}}}}";

void exports_filter_describe(weir_manifest *manifest) {
  weir_describe(manifest, "tenants", "0.1.0", "The policy of a tenant's requests", SCHEMA);
}

static const char *check_policy(const weir_json *policy) {
  if (policy->kind != WEIR_JSON_OBJECT) return "a tenant must be an object";
  if (weir_json_unknown(policy, (const char *[]){"prefix", "plan", "methods", "max_body", NULL}))
    return "a tenant's keys are prefix, plan, methods and max_body";
  const weir_json *value = weir_json_get(policy, "prefix");
  if (value && (value->kind != WEIR_JSON_STRING || value->len == 0 || value->text[0] != '/' || value->text[value->len - 1] == '/'))
    return "prefix: it must begin with a slash and not end with one";
  value = weir_json_get(policy, "plan");
  if (value && value->kind != WEIR_JSON_STRING) return "plan: it must be a string";
  value = weir_json_get(policy, "max_body");
  if (value && (value->kind != WEIR_JSON_NUMBER || value->number < 0 || value->number > 2147483647 ||
                value->number != (uint32_t)value->number))
    return "max_body: it must be a whole number, at most 2147483647";
  value = weir_json_get(policy, "methods");
  if (!value) return NULL;
  if (value->kind != WEIR_JSON_ARRAY) return "methods: it must be a list";
  for (const weir_json *method = value->first; method; method = method->next)
    if (method->kind != WEIR_JSON_STRING) return "methods: each must be a string";
  return NULL;
}

static const char *check(const weir_json *config) {
  if (!config) return "this is no JSON";
  tenants = weir_json_get(config, "tenants");
  if (!tenants || tenants->kind != WEIR_JSON_OBJECT) return "tenants: it must be an object";
  if (weir_json_unknown(config, (const char *[]){"tenants", NULL})) return "its only key is tenants";
  for (const weir_json *policy = tenants->first; policy; policy = policy->next) {
    const char *fault = check_policy(policy);
    if (fault) return fault;
  }
  return NULL;
}

static size_t need(weir_strings *inputs, const char *name) { return weir_need(inputs, name, strlen(name)); }

bool exports_filter_configure(weir_string *text, weir_needs *needs, weir_string *error) {
  memset(needs, 0, sizeof *needs);
  const char *fault = check(weir_json_read(text->ptr, text->len));
  filter_string_free(text);
  if (fault) {
    *error = weir_copy(fault);
    return false;
  }
  needs->on_request = needs->on_response = true;
  tenant_input = need(&needs->inputs, "header:x-tenant");
  method_input = need(&needs->inputs, ":method");
  path_input = need(&needs->inputs, ":path");
  length_input = need(&needs->inputs, "header:content-length");
  return true;
}

static bool allows(const weir_json *methods, const weir_bytes *method) {
  for (const weir_json *allowed = methods->first; allowed; allowed = allowed->next)
    if (weir_is(method, allowed->text)) return true;
  return false;
}

// Whether a content-length is a number and at most `most`.
static bool fits(const weir_bytes *length, double most) {
  uint64_t sum = 0;
  for (size_t n = 0; n < length->len; n++) {
    if (length->ptr[n] < '0' || length->ptr[n] > '9') return false;
    sum = sum * 10 + (length->ptr[n] - '0');
    if (sum > UINT32_MAX) sum = UINT32_MAX;
  }
  return length->len && sum <= most;
}

static weir_reply *refuse(weir_request_decision *decision, uint16_t status, const char *body) {
  weir_reply *reply = weir_answer_with(decision, status, body);
  weir_reply_header(reply, "content-type", "text/plain", strlen("text/plain"));
  return reply;
}

static void refuse_method(weir_request_decision *decision, const weir_json *methods) {
  char allow[512] = "";
  for (const weir_json *allowed = methods->first; allowed; allowed = allowed->next) {
    if (strlen(allow) + allowed->len + 3 > sizeof allow) break;
    if (*allow) strcat(allow, ", ");
    strcat(allow, allowed->text);
  }
  weir_reply_header(refuse(decision, 405, "method not allowed\n"), "allow", allow, strlen(allow));
}

static void decide(const weir_inputs *inputs, weir_request_decision *decision) {
  const weir_bytes *tenant = weir_input(inputs, tenant_input);
  const weir_json *policy = tenant ? tenants->first : NULL;
  while (policy && (policy->key_len != tenant->len || memcmp(policy->key, tenant->ptr, tenant->len))) policy = policy->next;
  if (!policy) {
    refuse(decision, 403, "unknown tenant\n");
    return;
  }
  const weir_json *methods = weir_json_get(policy, "methods");
  if (methods && !allows(methods, weir_input(inputs, method_input))) {
    refuse_method(decision, methods);
    return;
  }
  const weir_json *most = weir_json_get(policy, "max_body");
  const weir_bytes *length = weir_input(inputs, length_input);
  if (most && length && !fits(length, most->number)) {
    refuse(decision, 413, "body too large\n");
    return;
  }
  const weir_json *prefix = weir_json_get(policy, "prefix"), *plan = weir_json_get(policy, "plan");
  if (!prefix && !plan) return;
  weir_changes *changes = weir_edit(decision);
  const weir_bytes *path = weir_input(inputs, path_input);
  if (prefix && path && path->len && path->ptr[0] == '/') {
    char *whole = malloc(prefix->len + path->len);
    if (!whole) abort();
    memcpy(whole, prefix->text, prefix->len);
    memcpy(whole + prefix->len, path->ptr, path->len);
    weir_path(changes, whole, prefix->len + path->len);
    free(whole);
  }
  if (plan) weir_set(changes, "x-plan", plan->text, plan->len);
  weir_context(changes, tenant->ptr, tenant->len);
}

void exports_filter_on_request(weir_inputs *inputs, weir_request_decision *decision) {
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_NEXT;
  decide(inputs, decision);
  weir_inputs_free(inputs);
}

void exports_filter_on_fetch(weir_bytes *context, weir_answer *answer, weir_request_decision *decision) {
  filter_list_u8_free(context);
  filter_result_reply_string_free(answer);
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_NEXT;
}

void exports_filter_on_response(uint16_t status, weir_inputs *inputs, weir_bytes *context, weir_response_decision *decision) {
  (void)status;
  decision->tag = WEIR_PLUGIN_FILTERING_RESPONSE_DECISION_NEXT;
  if (context->len) weir_set(weir_edit_response(decision), "x-tenant", context->ptr, context->len);
  weir_inputs_free(inputs);
  filter_list_u8_free(context);
}
