// The policy of a tenant's requests. examples/README.md describes it exactly.
#include <algorithm>
#include <functional>
#include <map>

#include "weir.hpp"

namespace {

constexpr weir::About ABOUT = {"tenants", "0.1.0", "The policy of a tenant's requests", R"({
  "type": "object",
  "required": ["tenants"],
  "additionalProperties": false,
  "properties": {
    "tenants": {
      "type": "object",
      "additionalProperties": {
        "type": "object",
        "additionalProperties": false,
        "properties": {
          "prefix": { "type": "string", "pattern": "^/.*[^/]$", "description": "The prefix of the path" },
          "plan": { "type": "string", "description": "The value of x-plan for the origin" },
          "methods": { "type": "array", "items": { "type": "string" }, "description": "The methods that are allowed" },
          "max_body": {
            "type": "integer", "minimum": 0, "maximum": 2147483647,
            "description": "The largest content-length that is allowed"
          }
        }
      }
    }
  }
})"};

struct Policy {
  std::optional<std::string> prefix, plan;
  std::optional<std::vector<std::string>> methods;
  std::optional<uint32_t> max_body;
};

using Policies = std::map<std::string, Policy, std::less<>>;

weir::Reply refuse(uint16_t status, std::string_view body) {
  weir::Reply reply(status, body);
  reply.header("content-type", "text/plain");
  return reply;
}

// Whether a content-length is a number and at most `most`.
bool fits(std::string_view length, uint32_t most) {
  uint64_t sum = 0;
  for (char digit : length) {
    if (digit < '0' || digit > '9') return false;
    sum = std::min<uint64_t>(sum * 10 + static_cast<uint64_t>(digit - '0'), UINT32_MAX);
  }
  return !length.empty() && sum <= most;
}

std::string join(const std::vector<std::string> &parts) {
  std::string all;
  for (const std::string &part : parts) all += (all.empty() ? "" : ", ") + part;
  return all;
}

class Tenants : public weir::Filter {
 public:
  Tenants(Policies policies, weir::Needs &needs)
      : policies_(std::move(policies)),
        tenant_(needs.input("header:x-tenant")),
        method_(needs.input(":method")),
        path_(needs.input(":path")),
        length_(needs.input("header:content-length")) {
    needs.on_response = true;
  }

  weir::Decision on_request(const weir::Values &inputs) override {
    std::optional<std::string_view> tenant = inputs[tenant_];
    auto found = tenant ? policies_.find(*tenant) : policies_.end();
    if (found == policies_.end()) return refuse(403, "unknown tenant\n");
    const Policy &policy = found->second;
    if (policy.methods && !std::ranges::contains(*policy.methods, inputs[method_].value_or(""))) {
      weir::Reply reply = refuse(405, "method not allowed\n");
      reply.header("allow", join(*policy.methods));
      return reply;
    }
    std::optional<std::string_view> length = inputs[length_];
    if (policy.max_body && length && !fits(*length, *policy.max_body)) return refuse(413, "body too large\n");
    if (!policy.prefix && !policy.plan) return weir::Next{};
    weir::Changes changes;
    std::string_view path = inputs[path_].value_or("");
    if (policy.prefix && path.starts_with('/')) changes.path(*policy.prefix + std::string(path));
    if (policy.plan) changes.set("x-plan", *policy.plan);
    changes.context(*tenant);
    return changes;
  }

  weir::Decision on_response(uint16_t, const weir::Values &, std::string_view context) override {
    if (context.empty()) return weir::Next{};
    weir::Changes changes;
    changes.set("x-tenant", context);
    return changes;
  }

 private:
  Policies policies_;
  weir::Input tenant_, method_, path_, length_;
};

std::expected<Policy, std::string> read(weir::Json json) {
  if (!json.is(WEIR_JSON_OBJECT)) return std::unexpected("a tenant must be an object");
  if (!json.has_only("prefix", "plan", "methods", "max_body"))
    return std::unexpected("a tenant's keys are prefix, plan, methods and max_body");
  Policy policy;
  if (weir::Json value = json["prefix"]) {
    if (!value.is(WEIR_JSON_STRING) || !value.text().starts_with('/') || value.text().ends_with('/'))
      return std::unexpected("prefix: it must begin with a slash and not end with one");
    policy.prefix = value.text();
  }
  if (weir::Json value = json["plan"]) {
    if (!value.is(WEIR_JSON_STRING)) return std::unexpected("plan: it must be a string");
    policy.plan = value.text();
  }
  if (weir::Json value = json["methods"]) {
    if (!value.is(WEIR_JSON_ARRAY)) return std::unexpected("methods: it must be a list");
    policy.methods.emplace();
    for (weir::Json method = value.first(); method; method = method.next()) {
      if (!method.is(WEIR_JSON_STRING)) return std::unexpected("methods: each must be a string");
      policy.methods->emplace_back(method.text());
    }
  }
  if (weir::Json value = json["max_body"]) {
    bool is_size = value.is(WEIR_JSON_NUMBER) && value.number() >= 0 && value.number() <= 2147483647 &&
                   value.number() == static_cast<uint32_t>(value.number());
    if (!is_size) return std::unexpected("max_body: it must be a whole number, at most 2147483647");
    policy.max_body = static_cast<uint32_t>(value.number());
  }
  return policy;
}

weir::Made<weir::Filter> create(std::string_view text, weir::Needs &needs) {
  weir::Document document(text);
  weir::Json config = document.root(), tenants = config["tenants"];
  if (!tenants.is(WEIR_JSON_OBJECT)) return std::unexpected("tenants: it must be an object");
  if (!config.has_only("tenants")) return std::unexpected("its only key is tenants");
  Policies policies;
  for (weir::Json json = tenants.first(); json; json = json.next()) {
    std::expected<Policy, std::string> policy = read(json);
    if (!policy) return std::unexpected("tenants." + std::string(json.key()) + ": " + policy.error());
    policies.emplace(json.key(), std::move(*policy));
  }
  return std::make_unique<Tenants>(std::move(policies), needs);
}

}  // namespace

WEIR_EXPORT(ABOUT, create)
