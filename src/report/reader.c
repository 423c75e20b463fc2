/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/reader.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An event of a trace has some hundred bytes. What is longer than this is no event, and is not worth the memory. */
#define LONGEST ((size_t)16 << 20)

struct reader {
    FILE *in;
    const char *name;
    const struct pmap__trace_taker *taker;
    struct pmap_error *error;
    char block[1 << 16];   /* of the file */
    size_t at, end;        /* in the block */
    uint64_t before;       /* bytes of the file before the block */
    uint64_t events;       /* taken so far */
    char *text;            /* the value that is being read, malloc'ed */
    size_t size, capacity; /* of it */
};

/* ---- What can be wrong ---- */

static uint64_t position(const struct reader *r)
{
    return r->before + r->at;
}

static enum pmap_status malformed(struct reader *r, const char *expected)
{
    return pmap__error_set(r->error, PMAP_EINVAL, "pmap: %s is no trace: at byte %llu there should be %s", r->name,
                           (unsigned long long)position(r), expected);
}

static enum pmap_status ended(struct reader *r)
{
    if (ferror(r->in))
        return pmap__error_set(r->error, PMAP_EINVAL, "pmap: %s cannot be read: %s", r->name, strerror(errno));
    return pmap__error_set(r->error, PMAP_EINVAL, "pmap: %s ends in the middle, after %llu bytes and %llu events: it was not written to its end",
                           r->name, (unsigned long long)position(r), (unsigned long long)r->events);
}

static enum pmap_status no_memory(struct reader *r)
{
    return pmap__error_set(r->error, PMAP_ENOMEM, "pmap: no memory for the trace %s, after %llu events", r->name,
                           (unsigned long long)r->events);
}

/* ---- Bytes ---- */

/* The next byte, which stays where it is; EOF. */
static int peek(struct reader *r)
{
    if (r->at == r->end) {
        r->before += r->end;
        r->at = 0;
        r->end = fread(r->block, 1, sizeof r->block, r->in);
    }
    return r->at < r->end ? (unsigned char)r->block[r->at] : EOF;
}

static int peek_past_blanks(struct reader *r)
{
    int c;

    while ((c = peek(r)) == ' ' || c == '\n' || c == '\t' || c == '\r')
        r->at++;
    return c;
}

static enum pmap_status expect(struct reader *r, char wanted, const char *name)
{
    int c = peek_past_blanks(r);

    if (c == EOF)
        return ended(r);
    if (c != wanted)
        return malformed(r, name);
    r->at++;
    return PMAP_OK;
}

static bool reserve(struct reader *r)
{
    size_t capacity = r->capacity ? 2 * r->capacity : 4096;
    char *text = capacity <= LONGEST ? realloc(r->text, capacity) : NULL;

    if (text == NULL)
        return false;
    r->text = text;
    r->capacity = capacity;
    return true;
}

static bool keep(struct reader *r, int c)
{
    if (r->size == r->capacity && !reserve(r))
        return false;
    r->text[r->size++] = (char)c;
    r->at++;
    return true;
}

/* ---- Values ---- */

/* Where in a value a byte is: enough of JSON's grammar to see where the value ends. Whether it makes sense the library finds. */
struct depth {
    size_t brackets;
    bool string, escaped;
};

static void follow(struct depth *d, int c)
{
    if (d->escaped)
        d->escaped = false;
    else if (d->string && c == '\\')
        d->escaped = true;
    else if (c == '"')
        d->string = !d->string;
    else if (!d->string && (c == '{' || c == '['))
        d->brackets++;
    else if (!d->string && (c == '}' || c == ']') && d->brackets > 0)
        d->brackets--;
}

static bool ends_number_or_word(int c)
{
    return c == ',' || c == '}' || c == ']' || c == ':' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Copy a value into text. */
static enum pmap_status collect(struct reader *r)
{
    struct depth d = {0, false, false};
    int c = peek_past_blanks(r);
    bool bare = c != '{' && c != '[' && c != '"';

    r->size = 0;
    while ((c = peek(r)) != EOF && !(bare && ends_number_or_word(c))) {
        if (!keep(r, c))
            return r->capacity == LONGEST ? malformed(r, "the end of an event of many megabytes") : no_memory(r);
        follow(&d, c);
        if (!bare && d.brackets == 0 && !d.string)
            return PMAP_OK;
    }
    return c == EOF ? ended(r) : PMAP_OK;
}

static enum pmap_status parse(struct reader *r, cJSON **value)
{
    enum pmap_status status = collect(r);

    if (status != PMAP_OK)
        return status;
    *value = r->size ? cJSON_ParseWithLength(r->text, r->size) : NULL;
    return *value ? PMAP_OK : malformed(r, "a JSON value before it");
}

/* ---- Traces ---- */

static enum pmap_status take_event(struct reader *r)
{
    cJSON *event;
    enum pmap_status status = parse(r, &event);

    if (status != PMAP_OK)
        return status;
    if (!cJSON_IsObject(event))
        status = malformed(r, "the end of an event, an object");
    else if (!r->taker->event(r->taker->owner, event))
        status = no_memory(r);
    cJSON_Delete(event);
    r->events++;
    return status;
}

/* [event, …]; Chrome's own traces may end without the bracket, but ours do not. */
static enum pmap_status take_events(struct reader *r)
{
    enum pmap_status status = expect(r, '[', "[, where the events begin");

    if (status == PMAP_OK && peek_past_blanks(r) == ']') {
        r->at++;
        return PMAP_OK;
    }
    while (status == PMAP_OK && (status = take_event(r)) == PMAP_OK && peek_past_blanks(r) == ',')
        r->at++;
    return status == PMAP_OK ? expect(r, ']', "a comma or ] after an event") : status;
}

static enum pmap_status take_value(struct reader *r, const char *key)
{
    cJSON *value;
    enum pmap_status status = parse(r, &value);

    if (status != PMAP_OK)
        return status;
    if (r->taker->value && !r->taker->value(r->taker->owner, key, value))
        status = no_memory(r);
    cJSON_Delete(value);
    return status;
}

/* "key": value */
static enum pmap_status take_member(struct reader *r)
{
    cJSON *key;
    enum pmap_status status = peek_past_blanks(r) == '"' ? parse(r, &key) : malformed(r, "a key in quotation marks");

    if (status != PMAP_OK)
        return peek(r) == EOF ? ended(r) : status;
    status = expect(r, ':', "a colon after the key");
    if (status == PMAP_OK)
        status = strcmp(key->valuestring, "traceEvents") == 0 ? take_events(r) : take_value(r, key->valuestring);
    cJSON_Delete(key);
    return status;
}

static enum pmap_status take_object(struct reader *r)
{
    enum pmap_status status = expect(r, '{', "{");

    if (status == PMAP_OK && peek_past_blanks(r) == '}') {
        r->at++;
        return PMAP_OK;
    }
    while (status == PMAP_OK && (status = take_member(r)) == PMAP_OK && peek_past_blanks(r) == ',')
        r->at++;
    return status == PMAP_OK ? expect(r, '}', "a comma or } after a value") : status;
}

static enum pmap_status take_all(struct reader *r)
{
    int first = peek_past_blanks(r);
    enum pmap_status status;

    if (first == EOF && !ferror(r->in))
        return pmap__error_set(r->error, PMAP_EINVAL, "pmap: %s is empty", r->name);
    if (first == EOF)
        return ended(r);
    if (first != '{' && first != '[')
        return malformed(r, "{ or [");
    status = first == '{' ? take_object(r) : take_events(r);
    return status == PMAP_OK && peek_past_blanks(r) != EOF ? malformed(r, "nothing more") : status;
}

enum pmap_status pmap__trace_read(FILE *in, const char *name, const struct pmap__trace_taker *taker, struct pmap_error *error)
{
    struct reader *r = calloc(1, sizeof *r);
    enum pmap_status status;

    if (r == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the trace %s", name);
    r->in = in;
    r->name = name;
    r->taker = taker;
    r->error = error;
    status = take_all(r);
    free(r->text);
    free(r);
    return status;
}
