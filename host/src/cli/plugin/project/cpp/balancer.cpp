// Spreads requests in turn over one zone's endpoints, or over all if the zone has none.
#include "weir.hpp"

namespace {

constexpr weir::About ABOUT = {"@NAME@", "0.1.0", "Endpoints of one zone first", R"({
  "type": ["object", "null"],
  "additionalProperties": false,
  "properties": { "zone": { "type": "string", "description": "The zone that comes first" } }
})"};

class Plugin : public weir::Balancer {
 public:
  explicit Plugin(std::string_view zone) : zone_(zone) {}

  // Weir calls this with the healthy endpoints at each change. `pick` has nothing to search.
  void update(const std::vector<weir::Endpoint> &endpoints) override {
    ids_.clear();
    for (const weir::Endpoint &endpoint : endpoints)
      if (endpoint.zone == zone_) ids_.push_back(endpoint.id);
    if (!ids_.empty()) return;
    for (const weir::Endpoint &endpoint : endpoints) ids_.push_back(endpoint.id);
  }

  std::optional<uint32_t> pick(const weir::Pick &pick) override {
    if (ids_.empty()) return std::nullopt;
    return ids_[(pick.sequence + pick.attempt) % ids_.size()];
  }

 private:
  std::string zone_;
  std::vector<uint32_t> ids_;
};

weir::Made<weir::Balancer> create(std::string_view text, weir::Needs &needs) {
  weir::Document document(text);
  weir::Json config = document.root(), zone = config["zone"];
  if (!config.is(WEIR_JSON_OBJECT) && !config.is(WEIR_JSON_NULL)) return std::unexpected("it must be an object");
  if (!config.has_only("zone")) return std::unexpected("its only key is zone");
  if (zone && !zone.is(WEIR_JSON_STRING)) return std::unexpected("zone: it must be a string");
  // A number for each request, counted over all workers.
  needs.sequence = true;
  return std::make_unique<Plugin>(zone ? zone.text() : "");
}

}  // namespace

WEIR_EXPORT(ABOUT, create)
