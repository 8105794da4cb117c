// The header of Weir plugins in C++: base classes, and values that manage their memory.
#ifndef WEIR_HPP
#define WEIR_HPP

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "weir.h"
#include "weir_json.h"

namespace weir {

// The description of a plugin.
struct About {
  const char *name;
  const char *version;
  const char *summary;
  // A JSON Schema of the configuration, or empty.
  const char *config_schema = "";
};

// A requested input.
using Input = size_t;

// The values of inputs. Valid during the call.
class Values {
 public:
  explicit Values(const weir_inputs *inputs) : inputs_(inputs) {}

  // Returns the value of an input, if there is one.
  std::optional<std::string_view> operator[](Input input) const {
    const weir_bytes *value = weir_input(inputs_, input);
    if (!value) return std::nullopt;
    return std::string_view(reinterpret_cast<const char *>(value->ptr), value->len);
  }

 private:
  const weir_inputs *inputs_;
};

// A JSON value. Valid as long as the document.
class Json {
 public:
  explicit Json(const weir_json *json) : json_(json) {}

  explicit operator bool() const { return json_ != nullptr; }
  bool is(weir_json_kind kind) const { return json_ && json_->kind == kind; }

  // Returns a member of an object. The result is false if there is none.
  Json operator[](const char *key) const { return Json(json_ ? weir_json_get(json_, key) : nullptr); }

  std::string_view text() const { return {json_->text, json_->len}; }
  double number() const { return json_->number; }
  std::string_view key() const { return {json_->key, json_->key_len}; }

  // Return the items of an array or object, in order.
  Json first() const { return Json(json_->first); }
  Json next() const { return Json(json_->next); }

  // Whether an object has only these keys.
  template <class... Keys>
  bool has_only(Keys... keys) const {
    const char *const list[] = {keys..., nullptr};
    return !weir_json_unknown(json_, list);
  }

 private:
  const weir_json *json_;
};

// A parsed JSON document. `root` is false if the text is not JSON.
class Document {
 public:
  explicit Document(std::string_view text) : json_(weir_json_read(text.data(), text.size())) {}
  Json root() const { return Json(json_.get()); }

 private:
  struct Free {
    void operator()(weir_json *json) const { weir_json_free(json); }
  };
  std::unique_ptr<weir_json, Free> json_;
};

// The inputs that a plugin requests, by their names in the host.
class Inputs {
 public:
  Input input(std::string_view name) {
    names_.emplace_back(name);
    return names_.size() - 1;
  }
  void move_to(weir_strings *inputs) const {
    for (const std::string &name : names_) weir_need(inputs, name.data(), name.size());
  }

 private:
  std::vector<std::string> names_;
};

// A new plugin, or the fault in its configuration.
template <class Plugin>
using Made = std::expected<std::unique_ptr<Plugin>, std::string>;

#if defined(WEIR_BALANCER)

struct Needs : Inputs {
  bool sequence = false, loads = false, outcomes = false;
};

struct Endpoint {
  uint32_t id, weight;
  std::string_view address, zone;
};

// The outcome of a request.
using Outcome = weir_outcome;

// A request that needs an endpoint.
struct Pick {
  uint64_t sequence;
  uint32_t attempt;
  Values inputs;
  // The requests in flight at each endpoint of the last update, in its order.
  const uint32_t *loads;
};

class Balancer {
 public:
  virtual ~Balancer() = default;
  virtual void update(const std::vector<Endpoint> &endpoints) = 0;
  virtual std::optional<uint32_t> pick(const Pick &pick) = 0;
  // Receives the outcomes of requests, if `needs.outcomes` is set.
  virtual void observe(const std::vector<Outcome> &) {}
};

#elif defined(WEIR_FILTER)

struct Needs : Inputs {
  Inputs response;
  bool on_response = false;
  // Promises that decisions depend only on the arguments of a call. The host may then remember
  // them.
  bool pure = false;
};

// The message goes on unchanged.
struct Next {};

// The message goes on with changes. The context comes back with the response.
class Changes {
 public:
  Changes &set(const char *name, std::string_view value) {
    weir_set(&changes_, name, value.data(), value.size());
    return *this;
  }
  Changes &append(const char *name, std::string_view value) {
    weir_append(&changes_, name, value.data(), value.size());
    return *this;
  }
  Changes &remove(const char *name) {
    weir_remove(&changes_, name);
    return *this;
  }
  Changes &path(std::string_view path) {
    weir_path(&changes_, path.data(), path.size());
    return *this;
  }
  Changes &context(std::string_view context) {
    weir_context(&changes_, context.data(), context.size());
    return *this;
  }

  Changes() = default;
  Changes(Changes &&other) noexcept : changes_(std::exchange(other.changes_, {})) {}
  Changes &operator=(Changes &&other) noexcept {
    std::swap(changes_, other.changes_);
    return *this;
  }
  ~Changes() { weir_plugin_filtering_changes_free(&changes_); }
  weir_changes release() { return std::exchange(changes_, {}); }

 private:
  weir_changes changes_{};
};

// The plugin answers with a whole response.
class Reply {
 public:
  explicit Reply(uint16_t status, std::string_view body = "") {
    reply_.status = status;
    reply_.body = weir_copy_bytes(body.data(), body.size());
  }
  Reply &header(const char *name, std::string_view value) {
    weir_reply_header(&reply_, name, value.data(), value.size());
    return *this;
  }

  Reply(Reply &&other) noexcept : reply_(std::exchange(other.reply_, {})) {}
  Reply &operator=(Reply &&other) noexcept {
    std::swap(reply_, other.reply_);
    return *this;
  }
  ~Reply() { weir_plugin_filtering_reply_free(&reply_); }
  weir_reply release() { return std::exchange(reply_, {}); }

 private:
  weir_reply reply_{};
};

using Decision = std::variant<Next, Changes, Reply>;

class Filter {
 public:
  virtual ~Filter() = default;
  virtual Decision on_request(const Values &inputs) = 0;
  virtual Decision on_response(uint16_t, const Values &, std::string_view) { return Next{}; }
};

// Converts a decision for the bindings. Decisions on requests and responses begin with the same
// members.
template <class Out>
void give(Decision decision, Out *out) {
  std::memset(out, 0, sizeof *out);
  if (auto *changes = std::get_if<Changes>(&decision)) {
    out->tag = 1;
    out->val.edit = changes->release();
  } else if (auto *reply = std::get_if<Reply>(&decision)) {
    out->tag = 2;
    out->val.reply = reply->release();
  }
}

#endif

inline std::string_view view(const weir_string &text) { return {reinterpret_cast<const char *>(text.ptr), text.len}; }

}  // namespace weir

#if defined(WEIR_BALANCER)

// Defines the exports of the component, from the description of a balancer and a function that
// makes it.
#define WEIR_EXPORT(ABOUT, CREATE)                                                                                     \
  static std::unique_ptr<weir::Balancer> weir_plugin;                                                                  \
  extern "C" void exports_balancer_describe(weir_manifest *manifest) {                                                 \
    const weir::About about = ABOUT;                                                                                   \
    weir_describe(manifest, about.name, about.version, about.summary, about.config_schema);                            \
  }                                                                                                                    \
  extern "C" bool exports_balancer_configure(weir_string *config, weir_needs *out, weir_string *error) {               \
    weir::Needs needs;                                                                                                 \
    weir::Made<weir::Balancer> made = CREATE(weir::view(*config), needs);                                              \
    balancer_string_free(config);                                                                                      \
    if (!made) {                                                                                                       \
      *error = weir_copy_n(made.error().data(), made.error().size());                                                  \
      return false;                                                                                                    \
    }                                                                                                                  \
    weir_plugin = std::move(*made);                                                                                    \
    std::memset(out, 0, sizeof *out);                                                                                  \
    needs.move_to(&out->inputs);                                                                                       \
    out->sequence = needs.sequence, out->loads = needs.loads, out->outcomes = needs.outcomes;                          \
    return true;                                                                                                       \
  }                                                                                                                    \
  extern "C" void exports_balancer_update(weir_endpoints *endpoints) {                                                 \
    std::vector<weir::Endpoint> all;                                                                                   \
    for (size_t n = 0; n < endpoints->len; n++) {                                                                      \
      const weir_endpoint &e = endpoints->ptr[n];                                                                      \
      all.push_back({e.id, e.weight, weir::view(e.address), weir::view(e.zone)});                                      \
    }                                                                                                                  \
    weir_plugin->update(all);                                                                                          \
    balancer_list_endpoint_free(endpoints);                                                                            \
  }                                                                                                                    \
  extern "C" bool exports_balancer_pick(uint64_t sequence, uint32_t attempt, weir_inputs *inputs, weir_loads *loads,   \
                                        uint32_t *id) {                                                                \
    std::optional<uint32_t> chosen = weir_plugin->pick({sequence, attempt, weir::Values(inputs), loads->ptr});         \
    if (chosen) *id = *chosen;                                                                                         \
    weir_inputs_free(inputs);                                                                                          \
    balancer_list_u32_free(loads);                                                                                     \
    return chosen.has_value();                                                                                         \
  }                                                                                                                    \
  extern "C" void exports_balancer_observe(weir_outcomes *outcomes) {                                                  \
    weir_plugin->observe({outcomes->ptr, outcomes->ptr + outcomes->len});                                              \
    balancer_list_outcome_free(outcomes);                                                                              \
  }

#elif defined(WEIR_FILTER)

// Defines the exports of the component, from the description of a filter and a function that makes
// it.
#define WEIR_EXPORT(ABOUT, CREATE)                                                                                     \
  static std::unique_ptr<weir::Filter> weir_plugin;                                                                    \
  extern "C" void exports_filter_describe(weir_manifest *manifest) {                                                   \
    const weir::About about = ABOUT;                                                                                   \
    weir_describe(manifest, about.name, about.version, about.summary, about.config_schema);                            \
  }                                                                                                                    \
  extern "C" bool exports_filter_configure(weir_string *config, weir_needs *out, weir_string *error) {                 \
    weir::Needs needs;                                                                                                 \
    weir::Made<weir::Filter> made = CREATE(weir::view(*config), needs);                                                \
    filter_string_free(config);                                                                                        \
    if (!made) {                                                                                                       \
      *error = weir_copy_n(made.error().data(), made.error().size());                                                  \
      return false;                                                                                                    \
    }                                                                                                                  \
    weir_plugin = std::move(*made);                                                                                    \
    std::memset(out, 0, sizeof *out);                                                                                  \
    needs.move_to(&out->inputs);                                                                                       \
    needs.response.move_to(&out->response_inputs);                                                                     \
    out->on_request = true, out->on_response = needs.on_response, out->pure = needs.pure;                              \
    return true;                                                                                                       \
  }                                                                                                                    \
  extern "C" void exports_filter_on_request(weir_inputs *inputs, weir_request_decision *decision) {                    \
    weir::give(weir_plugin->on_request(weir::Values(inputs)), decision);                                               \
    weir_inputs_free(inputs);                                                                                          \
  }                                                                                                                    \
  extern "C" void exports_filter_on_fetch(weir_bytes *context, weir_answer *answer, weir_request_decision *decision) { \
    weir::give(weir::Next{}, decision);                                                                                \
    filter_list_u8_free(context);                                                                                      \
    filter_result_reply_string_free(answer);                                                                           \
  }                                                                                                                    \
  extern "C" void exports_filter_on_response(uint16_t status, weir_inputs *inputs, weir_bytes *context,                \
                                             weir_response_decision *decision) {                                       \
    std::string_view remembered(reinterpret_cast<const char *>(context->ptr), context->len);                           \
    weir::give(weir_plugin->on_response(status, weir::Values(inputs), remembered), decision);                          \
    weir_inputs_free(inputs);                                                                                          \
    filter_list_u8_free(context);                                                                                      \
  }

#endif
#endif
