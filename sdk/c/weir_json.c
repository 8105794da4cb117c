#include "weir_json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Deeper nesting is refused, because the parser uses stack for each level.
enum { MAX_DEPTH = 64 };

typedef struct {
  const char *at;
  const char *end;
} reader;

static bool value(reader *r, weir_json *json, int depth);

weir_json *weir_json_read(const void *text, size_t len) {
  reader r = {text, (const char *)text + len};
  weir_json *json = calloc(1, sizeof *json);
  if (!json) __builtin_trap();
  bool ok = value(&r, json, 0);
  while (r.at < r.end && strchr(" \t\r\n", *r.at)) r.at++;
  if (ok && r.at == r.end) return json;
  weir_json_free(json);
  return NULL;
}

void weir_json_free(weir_json *json) {
  while (json) {
    weir_json *next = json->next;
    weir_json_free(json->first);
    free(json->text);
    free(json->key);
    free(json);
    json = next;
  }
}

const weir_json *weir_json_get(const weir_json *object, const char *key) {
  const weir_json *member = object->kind == WEIR_JSON_OBJECT ? object->first : NULL;
  while (member && (member->key_len != strlen(key) || memcmp(member->key, key, member->key_len))) member = member->next;
  return member;
}

const weir_json *weir_json_unknown(const weir_json *object, const char *const *keys) {
  for (const weir_json *member = object->first; member; member = member->next) {
    const char *const *key = keys;
    while (*key && (member->key_len != strlen(*key) || memcmp(member->key, *key, member->key_len))) key++;
    if (!*key) return member;
  }
  return NULL;
}

static int peek(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\n')) r->at++;
  return r->at < r->end ? (unsigned char)*r->at : -1;
}

static bool word(reader *r, const char *text) {
  size_t len = strlen(text);
  if ((size_t)(r->end - r->at) < len || memcmp(r->at, text, len)) return false;
  r->at += len;
  return true;
}

static bool hex4(reader *r, uint32_t *code) {
  *code = 0;
  for (int n = 0; n < 4; n++) {
    if (r->at == r->end) return false;
    char c = *r->at++;
    uint32_t digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 16;
    if (digit == 16) return false;
    *code = *code << 4 | digit;
  }
  return true;
}

static char *utf8(char *out, uint32_t code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
    *out++ = (char)(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 63));
    *out++ = (char)(0x80 | (code & 63));
  } else {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 63));
    *out++ = (char)(0x80 | (code >> 6 & 63));
    *out++ = (char)(0x80 | (code & 63));
  }
  return out;
}

static bool escape(reader *r, char **out) {
  if (r->at == r->end) return false;
  char c = *r->at++;
  const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t", *found = c ? strchr(from, c) : NULL;
  if (found) {
    *(*out)++ = to[found - from];
    return true;
  }
  uint32_t code, low;
  if (c != 'u' || !hex4(r, &code) || (code >= 0xdc00 && code < 0xe000)) return false;
  if (code >= 0xd800 && code < 0xdc00) {
    if (!word(r, "\\u") || !hex4(r, &low) || low < 0xdc00 || low >= 0xe000) return false;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  *out = utf8(*out, code);
  return true;
}

static bool string(reader *r, char **text, size_t *len) {
  if (peek(r) != '"') return false;
  r->at++;
  // The escaped text has at least as many bytes as the decoded text.
  char *out = *text = malloc((size_t)(r->end - r->at) + 1);
  if (!out) __builtin_trap();
  while (r->at < r->end) {
    unsigned char c = (unsigned char)*r->at++;
    if (c == '"') {
      *len = (size_t)(out - *text);
      *out = 0;
      return true;
    }
    if (c < 0x20) return false;
    if (c != '\\') {
      *out++ = (char)c;
    } else if (!escape(r, &out)) {
      return false;
    }
  }
  return false;
}

static bool digits(reader *r) {
  const char *from = r->at;
  while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
  return r->at > from;
}

static bool number(reader *r, weir_json *json) {
  const char *from = r->at;
  char text[64];
  if (*r->at == '-') r->at++;
  const char *first = r->at;
  if (!digits(r) || (*first == '0' && r->at > first + 1)) return false;
  if (r->at < r->end && *r->at == '.') {
    r->at++;
    if (!digits(r)) return false;
  }
  if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
    r->at++;
    if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
    if (!digits(r)) return false;
  }
  size_t len = (size_t)(r->at - from);
  if (len >= sizeof text) return false;
  memcpy(text, from, len);
  text[len] = 0;
  json->kind = WEIR_JSON_NUMBER;
  json->number = strtod(text, NULL);
  return true;
}

static bool items(reader *r, weir_json *json, int depth, int close) {
  weir_json **last = &json->first;
  r->at++;
  if (peek(r) == close) {
    r->at++;
    return true;
  }
  for (;;) {
    weir_json *item = *last = calloc(1, sizeof *item);
    if (!item) __builtin_trap();
    last = &item->next;
    if (close == '}') {
      if (!string(r, &item->key, &item->key_len) || peek(r) != ':') return false;
      r->at++;
    }
    if (!value(r, item, depth + 1)) return false;
    int c = peek(r);
    if (c != ',' && c != close) return false;
    r->at++;
    if (c == close) return true;
  }
}

static bool value(reader *r, weir_json *json, int depth) {
  if (depth > MAX_DEPTH) return false;
  switch (peek(r)) {
    case 'n':
      json->kind = WEIR_JSON_NULL;
      return word(r, "null");
    case 't':
      json->kind = WEIR_JSON_BOOL;
      json->number = 1;
      return word(r, "true");
    case 'f':
      json->kind = WEIR_JSON_BOOL;
      return word(r, "false");
    case '"':
      json->kind = WEIR_JSON_STRING;
      return string(r, &json->text, &json->len);
    case '[':
      json->kind = WEIR_JSON_ARRAY;
      return items(r, json, depth, ']');
    case '{':
      json->kind = WEIR_JSON_OBJECT;
      return items(r, json, depth, '}');
    default:
      return r->at < r->end && number(r, json);
  }
}
