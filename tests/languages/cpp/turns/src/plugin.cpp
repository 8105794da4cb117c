// The same as tests/guests/turns.
#include <cassert>

#include "weir.hpp"

namespace {

constexpr weir::About ABOUT = {"turns", "0.1.0", "Logs what it is told"};

void tell(const std::string &line) { weir::log(weir::Level::Info, line); }

class Turns : public weir::Balancer {
 public:
  explicit Turns(weir::Input command) : command_(command) {}

  void update(const std::vector<weir::Endpoint> &) override {}

  std::optional<uint32_t> pick(const weir::Pick &pick) override {
    assert(!pick.inputs[command_] && "broken on purpose");
    tell("pick " + std::to_string(pick.sequence));
    return 0;
  }

  void observe(const std::vector<weir::Outcome> &outcomes) override {
    for (const weir::Outcome &outcome : outcomes) tell("observe " + std::to_string(outcome.duration_us));
  }

 private:
  weir::Input command_;
};

weir::Made<weir::Balancer> create(std::string_view, weir::Needs &needs) {
  needs.sequence = needs.outcomes = true;
  return std::make_unique<Turns>(needs.input("header:x-do"));
}

}  // namespace

WEIR_EXPORT(ABOUT, create)
