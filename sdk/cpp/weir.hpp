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
#include <type_traits>
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

inline std::string_view view(const weir_string &text) { return {reinterpret_cast<const char *>(text.ptr), text.len}; }

// A requested input of a request, and one of a response.
struct Input {
  size_t at = 0;
};
struct ResponseInput {
  size_t at = 0;
};

// The values of inputs. Valid during the call.
template <class Handle>
class ValuesOf {
 public:
  explicit ValuesOf(const weir_inputs *inputs) : inputs_(inputs) {}

  // Returns the value of an input, if there is one.
  std::optional<std::string_view> operator[](Handle input) const {
    const weir_bytes *value = weir_input(inputs_, input.at);
    if (!value) return std::nullopt;
    return std::string_view(reinterpret_cast<const char *>(value->ptr), value->len);
  }

 private:
  const weir_inputs *inputs_;
};
using Values = ValuesOf<Input>;
using ResponseValues = ValuesOf<ResponseInput>;

enum class Level { Debug = WEIR_DEBUG, Info = WEIR_INFO, Warn = WEIR_WARN, Error = WEIR_ERROR };

// Writes a line to the host's log: at most 4 KiB, and 20 lines a second.
inline void log(Level level, const std::string &message) {
  weir_log(static_cast<weir_level>(level), message.c_str());
}

// Returns the time, in microseconds since the Unix epoch.
inline uint64_t now_us() { return weir_now_us(); }

// Returns unpredictable bytes, at most 4096.
inline std::string random(size_t len) {
  std::string bytes(len, '\0');
  weir_random(bytes.data(), len);
  return bytes;
}

// Adds to one of the plugin's own counters.
inline void count(const std::string &metric, uint64_t by = 1) { weir_count(metric.c_str(), by); }

// Compares text with a secret. The time reveals nothing about the secret except its length.
inline bool equals_secret(std::string_view secret, std::string_view given) {
  volatile unsigned char differences = secret.size() != given.size();
  for (size_t n = 0; n < secret.size() && n < given.size(); n++) differences = differences | (secret[n] ^ given[n]);
  return !differences;
}

// Values that all instances of a plugin share. A space is "" for the plugin's own, or a name in its
// `allow.state`. A time to live is in milliseconds, or 0 for none.
namespace state {

// Adds to a counter and returns the sum.
inline int64_t add(const std::string &space, const std::string &key, int64_t by, uint64_t ttl_ms = 0) {
  return weir_state_add(space.c_str(), key.c_str(), by, ttl_ms);
}

// Returns the value of a key, if there is one. The value of a counter is its sum in decimal.
inline std::optional<std::string> get(const std::string &space, const std::string &key) {
  weir_bytes value;
  if (!weir_state_get(space.c_str(), key.c_str(), &value)) return std::nullopt;
  std::string copy(reinterpret_cast<const char *>(value.ptr), value.len);
  weir_bytes_free(&value);
  return copy;
}

// Sets a value and its time to live.
inline void set(const std::string &space, const std::string &key, std::string_view value, uint64_t ttl_ms = 0) {
  weir_state_set(space.c_str(), key.c_str(), value.data(), value.size(), ttl_ms);
}

// Sets a value if the present one equals the expected one, in one atomic step. Returns whether it
// did.
inline bool replace(const std::string &space, const std::string &key, std::optional<std::string_view> expected,
                    std::string_view value, uint64_t ttl_ms = 0) {
  const char *old = expected ? (expected->empty() ? "" : expected->data()) : nullptr;
  return weir_state_replace(space.c_str(), key.c_str(), old, expected ? expected->size() : 0, value.data(),
                            value.size(), ttl_ms);
}

// Removes a key.
inline void remove(const std::string &space, const std::string &key) {
  weir_state_remove(space.c_str(), key.c_str());
}

}  // namespace state

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
template <class Handle>
class InputsOf {
 public:
  Handle input(std::string_view name) {
    names_.emplace_back(name);
    return {names_.size() - 1};
  }
  void move_to(weir_strings *inputs) const {
    for (const std::string &name : names_) weir_need(inputs, name.data(), name.size());
  }

 private:
  std::vector<std::string> names_;
};
using Inputs = InputsOf<Input>;

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
  InputsOf<ResponseInput> response;
  bool on_response = false;
  // Promises that decisions depend only on the arguments of a call. The host may then remember
  // them.
  bool pure = false;
};

// A value that means the same in a later call: no pointer and no view of bytes that are gone by then.
template <class T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::is_convertible_v<T, std::string_view> &&
                !requires(T value) { value.data(); } && !requires(T value) { *value; };

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
  Changes &authority(std::string_view authority) {
    weir_authority(&changes_, authority.data(), authority.size());
    return *this;
  }
  Changes &upstream(const char *upstream) {
    weir_upstream(&changes_, upstream);
    return *this;
  }
  Changes &status(uint16_t status) {
    weir_status(&changes_, status);
    return *this;
  }
  // Notes a value about the request, for its access record and its span.
  Changes &attribute(const char *name, std::string_view value) {
    weir_attribute(&changes_, name, value.data(), value.size());
    return *this;
  }
  Changes &context(std::string_view context) {
    weir_context(&changes_, context.data(), context.size());
    return *this;
  }
  // Sets the context to a plain value. `recall` returns it.
  template <Plain T>
  Changes &remember(const T &value) {
    return context({reinterpret_cast<const char *>(&value), sizeof value});
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

// Makes the host send a request. `on_fetch` then decides.
class Fetch {
 public:
  Fetch(const char *upstream, std::string_view path) {
    weir_request_decision decision;
    fetch_ = *weir_ask(&decision, upstream, path.data(), path.size());
  }
  // Sets the method and the body. Without it, the request is a GET.
  Fetch &send(const char *method, std::string_view body) {
    weir_fetch_send(&fetch_, method, body.data(), body.size());
    return *this;
  }
  Fetch &header(const char *name, std::string_view value) {
    weir_fetch_header(&fetch_, name, value.data(), value.size());
    return *this;
  }
  // Sets host and port. Without it, they are the client's own.
  Fetch &authority(std::string_view authority) {
    filter_string_free(&fetch_.authority);
    fetch_.authority = weir_copy_n(authority.data(), authority.size());
    return *this;
  }
  // Sets the time for the whole answer: 5 s without it, at most 60 s.
  Fetch &timeout_ms(uint32_t timeout_ms) {
    fetch_.timeout_ms = timeout_ms;
    return *this;
  }
  Fetch &context(std::string_view context) {
    weir_fetch_context(&fetch_, context.data(), context.size());
    return *this;
  }
  template <Plain T>
  Fetch &remember(const T &value) {
    return context({reinterpret_cast<const char *>(&value), sizeof value});
  }

  Fetch(Fetch &&other) noexcept : fetch_(std::exchange(other.fetch_, {})) {}
  Fetch &operator=(Fetch &&other) noexcept {
    std::swap(fetch_, other.fetch_);
    return *this;
  }
  ~Fetch() { weir_plugin_filtering_fetch_free(&fetch_); }
  weir_fetch release() { return std::exchange(fetch_, {}); }

 private:
  weir_fetch fetch_{};
};

// The answer to a fetch. Valid during the call.
class Answer {
 public:
  explicit Answer(const weir_reply *answer) : answer_(answer) {}
  uint16_t status() const { return answer_->status; }
  std::string_view body() const { return {reinterpret_cast<const char *>(answer_->body.ptr), answer_->body.len}; }
  // Returns the first value of a header field. The name is in lower case.
  std::optional<std::string_view> header(const char *name) const {
    const weir_bytes *value = weir_field(answer_, name);
    if (!value) return std::nullopt;
    return std::string_view(reinterpret_cast<const char *>(value->ptr), value->len);
  }

 private:
  const weir_reply *answer_;
};

// Returns the value that `remember` kept, or none if the context is no value of this type.
template <Plain T>
std::optional<T> recall(std::string_view context) {
  if (context.size() != sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, context.data(), sizeof value);
  return value;
}

// The decision on a request, and on a response.
using RequestDecision = std::variant<Next, Changes, Reply, Fetch>;
using ResponseDecision = std::variant<Next, Changes, Reply>;

class Filter {
 public:
  virtual ~Filter() = default;
  virtual RequestDecision on_request(const Values &inputs) = 0;
  // Decides after a fetch, with its context. Without an answer, the error has the reason.
  virtual RequestDecision on_fetch(std::string_view, std::expected<Answer, std::string_view>) { return Next{}; }
  virtual ResponseDecision on_response(uint16_t, const ResponseValues &, std::string_view) { return Next{}; }
};

// Converts a decision for the bindings. Decisions on requests and responses begin with the same
// members.
template <class Decision, class Out>
void give(Decision decision, Out *out) {
  std::memset(out, 0, sizeof *out);
  if (auto *changes = std::get_if<Changes>(&decision)) {
    out->tag = 1;
    out->val.edit = changes->release();
  } else if (auto *reply = std::get_if<Reply>(&decision)) {
    out->tag = 2;
    out->val.reply = reply->release();
  } else if constexpr (std::is_same_v<Decision, RequestDecision>) {
    if (auto *fetch = std::get_if<Fetch>(&decision)) {
      out->tag = 3;
      out->val.fetch = fetch->release();
    }
  }
}

#endif

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
    std::string_view remembered(reinterpret_cast<const char *>(context->ptr), context->len);                           \
    std::expected<weir::Answer, std::string_view> came{weir::Answer(&answer->val.ok)};                                 \
    if (answer->is_err) came = std::unexpected(weir::view(answer->val.err));                                           \
    weir::give(weir_plugin->on_fetch(remembered, came), decision);                                                     \
    filter_list_u8_free(context);                                                                                      \
    weir_answer_free(answer);                                                                                          \
  }                                                                                                                    \
  extern "C" void exports_filter_on_response(uint16_t status, weir_inputs *inputs, weir_bytes *context,                \
                                             weir_response_decision *decision) {                                       \
    std::string_view remembered(reinterpret_cast<const char *>(context->ptr), context->len);                           \
    weir::give(weir_plugin->on_response(status, weir::ResponseValues(inputs), remembered), decision);                  \
    weir_inputs_free(inputs);                                                                                          \
    filter_list_u8_free(context);                                                                                      \
  }

#endif
#endif
