// Lets requests with a known tenant pass, and marks them as checked for the origin.
#include <algorithm>

#include "weir.hpp"

namespace {

constexpr weir::About ABOUT = {"@NAME@", "0.1.0", "Requests that name a tenant", R"({
  "type": ["object", "null"],
  "additionalProperties": false,
  "properties": {
    "header": { "type": "string", "default": "x-tenant", "description": "The header field that names the tenant" },
    "tenants": {
      "type": "array", "items": { "type": "string" },
      "description": "The tenants that may pass. If left out, all may"
    }
  }
})"};

class Plugin : public weir::Filter {
 public:
  Plugin(std::vector<std::string> tenants, weir::Input tenant) : tenants_(std::move(tenants)), tenant_(tenant) {}

  weir::RequestDecision on_request(const weir::Values &request) override {
    std::optional<std::string_view> tenant = request[tenant_];
    if (!tenant || (!tenants_.empty() && !std::ranges::contains(tenants_, *tenant))) {
      weir::Reply reply(403, "unknown tenant\n");
      reply.header("content-type", "text/plain");
      return reply;
    }
    weir::Changes changes;
    // The context comes back with the response to this request.
    changes.set("x-checked", "1").context(*tenant);
    return changes;
  }

  weir::ResponseDecision on_response(uint16_t, const weir::ResponseValues &, std::string_view context) override {
    weir::Changes changes;
    changes.set("x-tenant", context).remove("server");
    return changes;
  }

 private:
  std::vector<std::string> tenants_;
  weir::Input tenant_;
};

weir::Made<weir::Filter> create(std::string_view text, weir::Needs &needs) {
  weir::Document document(text);
  weir::Json config = document.root();
  if (!config.is(WEIR_JSON_OBJECT) && !config.is(WEIR_JSON_NULL)) return std::unexpected("it must be an object");
  if (!config.has_only("header", "tenants")) return std::unexpected("its keys are header and tenants");
  std::string input = "header:x-tenant";
  if (weir::Json header = config["header"]) {
    if (!header.is(WEIR_JSON_STRING)) return std::unexpected("header: it must be a string");
    input = "header:" + std::string(header.text());
  }
  std::vector<std::string> tenants;
  if (weir::Json list = config["tenants"]) {
    if (!list.is(WEIR_JSON_ARRAY)) return std::unexpected("tenants: it must be a list");
    for (weir::Json tenant = list.first(); tenant; tenant = tenant.next()) {
      if (!tenant.is(WEIR_JSON_STRING)) return std::unexpected("tenants: each must be a string");
      tenants.emplace_back(tenant.text());
    }
  }
  needs.on_response = true;
  // Each request comes with only the inputs that are requested here.
  return std::make_unique<Plugin>(std::move(tenants), needs.input(input));
}

}  // namespace

WEIR_EXPORT(ABOUT, create)
