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

filter_string_t text_of(std::string &word) { return {reinterpret_cast<uint8_t *>(word.data()), word.size()}; }

filter_list_u8_t bytes_of(std::string &word) { return {reinterpret_cast<uint8_t *>(word.data()), word.size()}; }

std::string answer(std::vector<std::string> words) {
  std::string nothing, what = words[0];
  words.resize(5);
  filter_string_t space = text_of(nothing), key = text_of(words[1]);
  if (what == "now") return std::to_string(weir_plugin_host_now());
  if (what == "add") {
    return std::to_string(weir_plugin_state_add(&space, &key, number<int64_t>(words[2]), number<uint64_t>(words[3])));
  }
  if (what == "get") {
    filter_list_u8_t value;
    if (!weir_plugin_state_get(&space, &key, &value)) return "none";
    std::string text(reinterpret_cast<char *>(value.ptr), value.len);
    filter_list_u8_free(&value);
    return text;
  }
  if (what == "set") {
    filter_list_u8_t value = bytes_of(words[2]);
    weir_plugin_state_set(&space, &key, &value, number<uint64_t>(words[3]));
    return "done";
  }
  if (what == "replace") {
    filter_list_u8_t expected = bytes_of(words[2]), value = bytes_of(words[3]);
    bool did = weir_plugin_state_replace(&space, &key, words[2] == "-" ? nullptr : &expected, &value,
                                         number<uint64_t>(words[4]));
    return did ? "true" : "false";
  }
  if (what == "count") {
    weir_plugin_host_count(&key, number<uint64_t>(words[2]));
    return "done";
  }
  if (what == "terminate") std::terminate();
  assert(!"broken on purpose");
  return "";
}

class Ledger : public weir::Filter {
 public:
  explicit Ledger(weir::Input command) : command_(command) {}

  weir::Decision on_request(const weir::Values &inputs) override {
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
