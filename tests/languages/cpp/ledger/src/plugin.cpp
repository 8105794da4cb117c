// The same as tests/guests/ledger.
#include <cassert>
#include <charconv>
#include <exception>

#include "weir.hpp"

namespace {

constexpr weir::About ABOUT = {"ledger", "0.1.0", "Does with the host what a request says"};

template <class Number>
Number number(const std::string &word) {
  Number value{};
  std::from_chars(word.data(), word.data() + word.size(), value);
  return value;
}

std::string hex(const std::string &bytes) {
  std::string text;
  for (unsigned char byte : bytes) text += "0123456789abcdef"[byte >> 4], text += "0123456789abcdef"[byte & 15];
  return text;
}

std::string answer(std::vector<std::string> words) {
  std::string what = words[0];
  words.resize(5);
  const std::string &key = words[1];
  if (what == "now") return std::to_string(weir::now_us());
  if (what == "add") {
    return std::to_string(weir::state::add("", key, number<int64_t>(words[2]), number<uint64_t>(words[3])));
  }
  if (what == "get") return weir::state::get("", key).value_or("none");
  if (what == "set") {
    weir::state::set("", key, words[2], number<uint64_t>(words[3]));
    return "done";
  }
  if (what == "replace") {
    std::optional<std::string_view> expected;
    if (words[2] != "-") expected = words[2];
    return weir::state::replace("", key, expected, words[3], number<uint64_t>(words[4])) ? "true" : "false";
  }
  if (what == "remove") {
    weir::state::remove("", key);
    return "done";
  }
  if (what == "random") return hex(weir::random(16));
  if (what == "count") {
    weir::count(key, number<uint64_t>(words[2]));
    return "done";
  }
  if (what == "terminate") std::terminate();
  assert(!"broken on purpose");
  return "";
}

class Ledger : public weir::Filter {
 public:
  explicit Ledger(weir::Input command) : command_(command) {}

  weir::RequestDecision on_request(const weir::Values &inputs) override {
    std::optional<std::string_view> command = inputs[command_];
    if (!command) return weir::Next{};
    std::vector<std::string> words{""};
    for (char c : *command) {
      if (c == ' ') {
        words.emplace_back();
      } else {
        words.back() += c;
      }
    }
    return weir::Reply(200, answer(words));
  }

 private:
  weir::Input command_;
};

weir::Made<weir::Filter> create(std::string_view, weir::Needs &needs) {
  return std::make_unique<Ledger>(needs.input("header:x-do"));
}

}  // namespace

WEIR_EXPORT(ABOUT, create)
