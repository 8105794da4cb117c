// A reader of JSON (RFC 8259), for configurations. A value lives until the whole is freed.
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
  // Of a boolean: 0 or 1.
  double number;
  // Of a string: UTF-8, with a zero after it that does not count.
  char *text;
  size_t len;
  // Of a member of an object: its name.
  char *key;
  size_t key_len;
  // Of an array or object: the first in it; then each has the next.
  struct weir_json *first;
  struct weir_json *next;
} weir_json;

// Reads a text; null if it is no JSON.
weir_json *weir_json_read(const void *text, size_t len);
void weir_json_free(weir_json *json);

// The member of an object with this name, or null.
const weir_json *weir_json_get(const weir_json *object, const char *key);

// The first member whose name is none of these (a list that ends with a null), or null.
const weir_json *weir_json_unknown(const weir_json *object, const char *const *keys);

#ifdef __cplusplus
}
#endif
#endif
