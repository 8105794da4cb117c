// The same as tests/guests/turns.
#include <cassert>

#include "weir.hpp"

namespace {

constexpr weir::About ABOUT = {"turns", "0.1.0", "Logs what it is told"};

void tell(std::string line) {
  balancer_string_t text = {reinterpret_cast<uint8_t *>(line.data()), line.size()};
  weir_plugin_host_log(WEIR_PLUGIN_HOST_LEVEL_INFO, &text);
}

class Turns : public weir::Balancer {
 public:
  void update(const std::vector<weir::Endpoint> &) override {}

  std::optional<uint32_t> pick(const weir::Pick &pick) override {
    assert(!pick.inputs[0] && "broken on purpose");
    tell("pick " + std::to_string(pick.sequence));
    return 0;
  }

  void observe(const std::vector<weir::Outcome> &outcomes) override {
    for (const weir::Outcome &outcome : outcomes) tell("observe " + std::to_string(outcome.duration_us));
  }
};

weir::Made<weir::Balancer> create(std::string_view, weir::Needs &needs) {
  needs.sequence = needs.outcomes = true;
  needs.input("header:x-do");
  return std::make_unique<Turns>();
}

}  // namespace

WEIR_EXPORT(ABOUT, create)
