// The policy of a tenant's requests. examples/README.md describes it exactly.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir.h"
#include "weir_json.h"

// The parsed configuration, which lives as long as the instance.
static const weir_json *tenants, *directory, *quota, *secret;
static size_t tenant_input, key_input, method_input, path_input, length_input;

// The time for which a count and an answer of the directory count, in milliseconds.
static const uint64_t MINUTE = 60000;

static const char SCHEMA[] =
    "{\"type\": \"object\", \"required\": [\"tenants\"], \"additionalProperties\": false, \"properties\": {\"tenants\": {"
    "\"type\": \"object\", \"additionalProperties\": {\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
    "\"prefix\": {\"type\": \"string\", \"pattern\": \"^/.*[^/]$\", \"description\": \"The prefix of the path\"},"
    "\"plan\": {\"type\": \"string\", \"description\": \"The value of x-plan for the origin\"},"
    "\"methods\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}, \"description\": \"The methods that are allowed\"},"
    "\"max_body\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 2147483647,"
    " \"description\": \"The largest content-length that is allowed\"}}}},"
    "\"directory\": {\"type\": \"string\", \"description\": \"The upstream that knows the plans of further tenants\"},"
    "\"quota\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 2147483647,"
    " \"description\": \"The requests that a tenant may make in a minute\"},"
    "\"key\": {\"type\": \"string\", \"minLength\": 1, \"x-weir-secret\": true,"
    " \"description\": \"Requests with this value of x-key pass without a tenant\"}}}";

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
  if (weir_json_unknown(config, (const char *[]){"tenants", "directory", "quota", "key", NULL}))
    return "its keys are tenants, directory, quota and key";
  directory = weir_json_get(config, "directory");
  if (directory && directory->kind != WEIR_JSON_STRING) return "directory: it must be a string";
  secret = weir_json_get(config, "key");
  if (secret && secret->kind != WEIR_JSON_STRING) return "key: it must be a string";
  quota = weir_json_get(config, "quota");
  if (quota && (quota->kind != WEIR_JSON_NUMBER || quota->number < 1 || quota->number > 2147483647))
    return "quota: it must be from 1 to 2147483647";
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
  key_input = need(&needs->inputs, "header:x-key");
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

static bool is_over_quota(const char *tenant) {
  char key[160];
  snprintf(key, sizeof key, "quota/%s", tenant);
  return quota && weir_state_add("", key, 1, MINUTE) > quota->number;
}

static void change(const char *tenant, const weir_bytes *prefix, const weir_bytes *plan, const weir_bytes *path,
                   weir_request_decision *decision) {
  if (!prefix && !plan) return;
  weir_changes *changes = weir_edit(decision);
  if (prefix && path && path->len && path->ptr[0] == '/') {
    char *whole = malloc(prefix->len + path->len);
    if (!whole) abort();
    memcpy(whole, prefix->ptr, prefix->len);
    memcpy(whole + prefix->len, path->ptr, path->len);
    weir_path(changes, whole, prefix->len + path->len);
    free(whole);
  }
  if (plan) {
    weir_set(changes, "x-plan", plan->ptr, plan->len);
    weir_attribute(changes, "plan", plan->ptr, plan->len);
  }
  weir_context(changes, tenant, strlen(tenant));
}

// Decides by the last step of every policy. `prefix`, `plan` and `path` may be null.
static void pass(const char *tenant, const weir_bytes *prefix, const weir_bytes *plan, const weir_bytes *path,
                 weir_request_decision *decision) {
  if (is_over_quota(tenant)) {
    weir_count("limited", 1);
    weir_reply_header(refuse(decision, 429, "too many requests\n"), "retry-after", "60", 2);
    return;
  }
  change(tenant, prefix, plan, path, decision);
}

static void pass_with_plan(const char *tenant, const uint8_t *plan, size_t len, weir_request_decision *decision) {
  weir_bytes text = {.ptr = (uint8_t *)plan, .len = len};
  pass(tenant, NULL, len ? &text : NULL, NULL, decision);
}

// Decides by what the directory said about the tenant in the last minute, or asks it.
static void look_up(const char *tenant, weir_request_decision *decision) {
  char key[80];
  snprintf(key, sizeof key, "tenant/%s", tenant);
  weir_bytes value;
  if (!weir_state_get("", key, &value)) {
    char path[80];
    int len = snprintf(path, sizeof path, "/tenants/%s", tenant);
    weir_fetch *fetch = weir_ask(decision, directory->text, path, len);
    fetch->timeout_ms = 2000;
    weir_fetch_context(fetch, tenant, strlen(tenant));
    return;
  }
  if (value.len && value.ptr[0] == '+') {
    pass_with_plan(tenant, value.ptr + 1, value.len - 1, decision);
  } else {
    refuse(decision, 403, "unknown tenant\n");
  }
  weir_bytes_free(&value);
}

// Whether the directory may be asked for a tenant of this name.
static bool is_name(const weir_bytes *tenant) {
  for (size_t n = 0; n < tenant->len; n++) {
    uint8_t c = tenant->ptr[n];
    bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-';
    if (!is_plain) return false;
  }
  return tenant->len && tenant->len <= 64;
}

static void decide_by_policy(const weir_json *policy, const weir_inputs *inputs, weir_request_decision *decision) {
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
  weir_bytes prefix_bytes = {0}, plan_bytes = {0};
  if (prefix) prefix_bytes = (weir_bytes){.ptr = (uint8_t *)prefix->text, .len = prefix->len};
  if (plan) plan_bytes = (weir_bytes){.ptr = (uint8_t *)plan->text, .len = plan->len};
  pass(policy->key, prefix ? &prefix_bytes : NULL, plan ? &plan_bytes : NULL, weir_input(inputs, path_input), decision);
}

static void decide(const weir_inputs *inputs, weir_request_decision *decision) {
  const weir_bytes *given = weir_input(inputs, key_input);
  if (secret && given) {
    if (!weir_is_secret(given, secret->text, secret->len)) {
      refuse(decision, 403, "wrong key\n");
      return;
    }
    weir_changes *changes = weir_edit(decision);
    weir_remove(changes, "x-key");
    weir_attribute(changes, "by", "key", strlen("key"));
    return;
  }
  const weir_bytes *tenant = weir_input(inputs, tenant_input);
  const weir_json *policy = tenant ? tenants->first : NULL;
  while (policy && (policy->key_len != tenant->len || memcmp(policy->key, tenant->ptr, tenant->len))) policy = policy->next;
  if (policy) {
    decide_by_policy(policy, inputs, decision);
  } else if (tenant && directory && is_name(tenant)) {
    char name[65];
    snprintf(name, sizeof name, "%.*s", (int)tenant->len, (const char *)tenant->ptr);
    look_up(name, decision);
  } else {
    refuse(decision, 403, "unknown tenant\n");
  }
}

void exports_filter_on_request(weir_inputs *inputs, weir_request_decision *decision) {
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_NEXT;
  decide(inputs, decision);
  weir_inputs_free(inputs);
}

// Keeps what the directory said: a plus sign and the plan, or a minus sign.
static void keep(const char *tenant, char known, const weir_bytes *plan) {
  char key[80], value[512];
  snprintf(key, sizeof key, "tenant/%s", tenant);
  int len = snprintf(value, sizeof value, "%c%.*s", known, plan ? (int)plan->len : 0, plan ? (const char *)plan->ptr : "");
  weir_state_set("", key, value, len < (int)sizeof value ? len : sizeof value - 1, MINUTE);
}

void exports_filter_on_fetch(weir_bytes *context, weir_answer *answer, weir_request_decision *decision) {
  decision->tag = WEIR_PLUGIN_FILTERING_REQUEST_DECISION_NEXT;
  char tenant[65];
  snprintf(tenant, sizeof tenant, "%.*s", (int)context->len, (const char *)context->ptr);
  uint16_t status = answer->is_err ? 0 : answer->val.ok.status;
  if (status == 200) {
    const weir_bytes *plan = weir_field(&answer->val.ok, "x-plan");
    keep(tenant, '+', plan);
    pass_with_plan(tenant, plan ? plan->ptr : NULL, plan ? plan->len : 0, decision);
  } else if (status == 404) {
    keep(tenant, '-', NULL);
    refuse(decision, 403, "unknown tenant\n");
  } else {
    weir_count("undecided", 1);
    refuse(decision, 503, "no directory\n");
  }
  weir_bytes_free(context);
  weir_answer_free(answer);
}

void exports_filter_on_response(uint16_t status, weir_inputs *inputs, weir_bytes *context, weir_response_decision *decision) {
  (void)status;
  decision->tag = WEIR_PLUGIN_FILTERING_RESPONSE_DECISION_NEXT;
  if (context->len) weir_set(weir_edit_response(decision), "x-tenant", context->ptr, context->len);
  weir_inputs_free(inputs);
  weir_bytes_free(context);
}
