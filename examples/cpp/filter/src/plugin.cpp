// The policy of a tenant's requests. examples/README.md describes it exactly.
#include <algorithm>
#include <cctype>
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
    },
    "directory": { "type": "string", "description": "The upstream that knows the plans of further tenants" },
    "quota": {
      "type": "integer", "minimum": 1, "maximum": 2147483647,
      "description": "The requests that a tenant may make in a minute"
    },
    "key": {
      "type": "string", "minLength": 1, "x-weir-secret": true,
      "description": "Requests with this value of x-key pass without a tenant"
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

struct Config {
  Policies policies;
  std::string directory, key;
  int64_t quota = 0;
};

// The time for which a count and an answer of the directory count, in milliseconds.
constexpr uint64_t MINUTE = 60000;

// Whether the directory may be asked for a tenant of this name.
bool is_name(std::string_view tenant) {
  return !tenant.empty() && tenant.size() <= 64 &&
         std::ranges::all_of(tenant, [](unsigned char c) { return (c < 128 && std::isalnum(c)) || c == '-'; });
}

Policy with_plan(std::string_view plan) {
  Policy policy;
  if (!plan.empty()) policy.plan = plan;
  return policy;
}

class Tenants : public weir::Filter {
 public:
  Tenants(Config config, weir::Needs &needs)
      : config_(std::move(config)),
        tenant_(needs.input("header:x-tenant")),
        key_(needs.input("header:x-key")),
        method_(needs.input(":method")),
        path_(needs.input(":path")),
        length_(needs.input("header:content-length")) {
    needs.on_response = true;
  }

  weir::RequestDecision on_request(const weir::Values &request) override {
    if (auto given = request[key_]; given && !config_.key.empty()) {
      if (!weir::equals_secret(config_.key, *given)) return refuse(403, "wrong key\n");
      weir::Changes changes;
      changes.remove("x-key").attribute("by", "key");
      return changes;
    }
    std::optional<std::string_view> tenant = request[tenant_];
    if (!tenant) return refuse(403, "unknown tenant\n");
    auto found = config_.policies.find(*tenant);
    if (found != config_.policies.end()) return decide(*tenant, found->second, &request);
    if (config_.directory.empty() || !is_name(*tenant)) return refuse(403, "unknown tenant\n");
    return look_up(std::string(*tenant));
  }

  weir::RequestDecision on_fetch(std::string_view context, std::expected<weir::Answer, std::string_view> answer) override {
    std::string tenant(context);
    if (answer && answer->status() == 200) {
      std::string plan(answer->header("x-plan").value_or(""));
      weir::state::set("", "tenant/" + tenant, "+" + plan, MINUTE);
      return decide(tenant, with_plan(plan), nullptr);
    }
    if (answer && answer->status() == 404) {
      weir::state::set("", "tenant/" + tenant, "-", MINUTE);
      return refuse(403, "unknown tenant\n");
    }
    weir::count("undecided");
    return refuse(503, "no directory\n");
  }

  weir::ResponseDecision on_response(uint16_t, const weir::ResponseValues &, std::string_view context) override {
    if (context.empty()) return weir::Next{};
    weir::Changes changes;
    changes.set("x-tenant", context);
    return changes;
  }

 private:
  // Decides by what the directory said about the tenant in the last minute, or asks it.
  weir::RequestDecision look_up(const std::string &tenant) {
    std::optional<std::string> value = weir::state::get("", "tenant/" + tenant);
    if (!value) {
      weir::Fetch fetch(config_.directory.c_str(), "/tenants/" + tenant);
      fetch.timeout_ms(2000).context(tenant);
      return fetch;
    }
    if (!value->starts_with('+')) return refuse(403, "unknown tenant\n");
    return decide(tenant, with_plan(std::string_view(*value).substr(1)), nullptr);
  }

  // Decides by a policy. Without the request it is one of the directory, which has only a plan.
  weir::RequestDecision decide(std::string_view tenant, const Policy &policy, const weir::Values *request) {
    auto text = [&](weir::Input input) { return request ? (*request)[input].value_or("") : ""; };
    if (policy.methods && !std::ranges::contains(*policy.methods, text(method_))) {
      weir::Reply reply = refuse(405, "method not allowed\n");
      reply.header("allow", join(*policy.methods));
      return reply;
    }
    std::optional<std::string_view> length;
    if (request) length = (*request)[length_];
    if (policy.max_body && length && !fits(*length, *policy.max_body)) return refuse(413, "body too large\n");
    if (config_.quota && weir::state::add("", "quota/" + std::string(tenant), 1, MINUTE) > config_.quota) {
      weir::count("limited");
      weir::Reply reply = refuse(429, "too many requests\n");
      reply.header("retry-after", "60");
      return reply;
    }
    if (!policy.prefix && !policy.plan) return weir::Next{};
    weir::Changes changes;
    std::string_view path = text(path_);
    if (policy.prefix && path.starts_with('/')) changes.path(*policy.prefix + std::string(path));
    if (policy.plan) changes.set("x-plan", *policy.plan).attribute("plan", *policy.plan);
    changes.context(tenant);
    return changes;
  }

  Config config_;
  weir::Input tenant_, key_, method_, path_, length_;
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
  weir::Json json = document.root(), tenants = json["tenants"];
  if (!tenants.is(WEIR_JSON_OBJECT)) return std::unexpected("tenants: it must be an object");
  if (!json.has_only("tenants", "directory", "quota", "key"))
    return std::unexpected("its keys are tenants, directory, quota and key");
  Config config;
  for (weir::Json tenant = tenants.first(); tenant; tenant = tenant.next()) {
    std::expected<Policy, std::string> policy = read(tenant);
    if (!policy) return std::unexpected("tenants." + std::string(tenant.key()) + ": " + policy.error());
    config.policies.emplace(tenant.key(), std::move(*policy));
  }
  if (weir::Json value = json["directory"]) {
    if (!value.is(WEIR_JSON_STRING)) return std::unexpected("directory: it must be a string");
    config.directory = value.text();
  }
  if (weir::Json value = json["key"]) {
    if (!value.is(WEIR_JSON_STRING)) return std::unexpected("key: it must be a string");
    config.key = value.text();
  }
  if (weir::Json value = json["quota"]) {
    bool is_quota = value.is(WEIR_JSON_NUMBER) && value.number() >= 1 && value.number() <= 2147483647;
    if (!is_quota) return std::unexpected("quota: it must be from 1 to 2147483647");
    config.quota = static_cast<int64_t>(value.number());
  }
  return std::make_unique<Tenants>(std::move(config), needs);
}

}  // namespace

WEIR_EXPORT(ABOUT, create)
