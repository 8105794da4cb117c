// A parser of JSON (RFC 8259), for configurations. A value lives until the whole document is freed.
#ifndef WEIR_JSON_H
#define WEIR_JSON_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  WEIR_JSON_NULL,
  WEIR_JSON_BOOL,
  WEIR_JSON_NUMBER,
  WEIR_JSON_STRING,
  WEIR_JSON_ARRAY,
  WEIR_JSON_OBJECT,
} weir_json_kind;

typedef struct weir_json {
  weir_json_kind kind;
  // For a boolean: 0 or 1.
  double number;
  // For a string: UTF-8, followed by a zero that `len` does not count.
  char *text;
  size_t len;
  // For a member of an object: its name.
  char *key;
  size_t key_len;
  // For an array or object: the first item. Each item has the next one.
  struct weir_json *first;
  struct weir_json *next;
} weir_json;

// Parses a text. Returns null if it is not JSON.
weir_json *weir_json_read(const void *text, size_t len);
void weir_json_free(weir_json *json);

// Returns the member of an object with this name, or null.
const weir_json *weir_json_get(const weir_json *object, const char *key);

// Returns the first member with a name outside this list, which ends with a null, or null.
const weir_json *weir_json_unknown(const weir_json *object, const char *const *keys);

#ifdef __cplusplus
}
#endif
#endif
