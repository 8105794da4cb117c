// Consistent hashing with bounded loads. examples/README.md describes it exactly.
#include <algorithm>
#include <cmath>

#include "weir.hpp"

namespace {

constexpr weir::About ABOUT = {"bounded", "0.1.0", "Consistent hashing with bounded loads", R"({
  "type": ["object", "null"],
  "additionalProperties": false,
  "properties": {
    "by": { "type": "string", "default": "client.address", "description": "The input that decides the endpoint" },
    "factor": {
      "type": "number", "minimum": 1, "default": 1.25,
      "description": "How much more than its share of the requests in flight an endpoint may have"
    }
  }
})"};

// FNV-1a, then MurmurHash3's finalizer.
uint32_t hash(std::string_view bytes) {
  uint32_t h = 2166136261u;
  for (unsigned char byte : bytes) h = (h ^ byte) * 16777619u;
  h = (h ^ h >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  return h ^ h >> 16;
}

class Bounded : public weir::Balancer {
 public:
  Bounded(double factor, weir::Input by, weir::Input client) : factor_(factor), by_(by), client_(client) {}

  void update(const std::vector<weir::Endpoint> &endpoints) override {
    members_.clear();
    ring_.clear();
    for (size_t index = 0; index < endpoints.size(); index++) {
      const weir::Endpoint &endpoint = endpoints[index];
      if (endpoint.weight == 0) continue;
      for (uint32_t number = 0; number < 40 * std::min(endpoint.weight, 25u); number++) {
        std::string name = std::string(endpoint.address) + '#' + std::to_string(number);
        ring_.push_back({hash(name), members_.size()});
      }
      members_.push_back({endpoint.id, endpoint.weight, index});
    }
    std::ranges::sort(ring_);
  }

  std::optional<uint32_t> pick(const weir::Pick &pick) override {
    if (ring_.empty()) return std::nullopt;
    std::optional<std::string_view> key = pick.inputs[by_];
    if (!key) key = pick.inputs[client_];
    auto at = std::ranges::lower_bound(ring_, hash(key.value_or("")), {}, &Point::hash);
    size_t start = at == ring_.end() ? 0 : static_cast<size_t>(at - ring_.begin());

    double total = 0, weights = 0;
    for (const Member &member : members_) {
      if (pick.loads[member.index] == WEIR_TRIED) continue;
      total += pick.loads[member.index];
      weights += member.weight;
    }
    if (weights == 0) return members_[ring_[start].member].id;
    std::optional<uint32_t> untried;
    for (size_t n = 0; n < ring_.size(); n++) {
      const Member &member = members_[ring_[(start + n) % ring_.size()].member];
      uint32_t load = pick.loads[member.index];
      if (load == WEIR_TRIED) continue;
      if (load < std::ceil(factor_ * (total + 1) * member.weight / weights)) return member.id;
      if (!untried) untried = member.id;
    }
    return untried;
  }

 private:
  struct Member {
    uint32_t id, weight;
    // The index in the update, which is also the index of the load.
    size_t index;
  };
  struct Point {
    uint32_t hash;
    // The index of its member.
    size_t member;
    auto operator<=>(const Point &) const = default;
  };

  double factor_;
  weir::Input by_, client_;
  std::vector<Member> members_;
  std::vector<Point> ring_;
};

weir::Made<weir::Balancer> create(std::string_view text, weir::Needs &needs) {
  weir::Document document(text);
  weir::Json config = document.root();
  std::string_view by = "client.address";
  double factor = 1.25;
  if (!config.is(WEIR_JSON_NULL)) {
    if (!config.is(WEIR_JSON_OBJECT)) return std::unexpected("it must be an object");
    if (!config.has_only("by", "factor")) return std::unexpected("its keys are by and factor");
    if (weir::Json value = config["by"]) {
      if (!value.is(WEIR_JSON_STRING)) return std::unexpected("by: it must be a string");
      by = value.text();
    }
    if (weir::Json value = config["factor"]) {
      if (!value.is(WEIR_JSON_NUMBER)) return std::unexpected("factor: it must be a number");
      factor = value.number();
      if (factor < 1) return std::unexpected("factor: it must be at least 1");
    }
  }
  needs.loads = true;
  return std::make_unique<Bounded>(factor, needs.input(by), needs.input("client.address"));
}

}  // namespace

WEIR_EXPORT(ABOUT, create)
