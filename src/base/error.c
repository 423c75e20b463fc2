/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/error.h"

#include "base/screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *pmap_status_name(enum pmap_status status)
{
    switch (status) {
    case PMAP_OK: return "PMAP_OK";
    case PMAP_EINVAL: return "PMAP_EINVAL";
    case PMAP_ENOMEM: return "PMAP_ENOMEM";
    case PMAP_EFAILED: return "PMAP_EFAILED";
    case PMAP_EMISMATCH: return "PMAP_EMISMATCH";
    case PMAP_EBUSY: return "PMAP_EBUSY";
    case PMAP_EMPI: return "PMAP_EMPI";
    case PMAP_ECANCELLED: return "PMAP_ECANCELLED";
    case PMAP_ECLOSED: return "PMAP_ECLOSED";
    case PMAP_EDEADLOCK: return "PMAP_EDEADLOCK";
    case PMAP_ECRASHED: return "PMAP_ECRASHED";
    case PMAP_ELOST: return "PMAP_ELOST";
    case PMAP_EINTERRUPTED: return "PMAP_EINTERRUPTED";
    case PMAP_EJOURNAL: return "PMAP_EJOURNAL";
    case PMAP_ETIMEOUT: return "PMAP_ETIMEOUT";
    case PMAP_END: return "PMAP_END";
    }
    return "unknown status";
}

const char *pmap_version(void)
{
    return PMAP_VERSION;
}

void pmap_perror(const char *prefix, const struct pmap_error *error)
{
    const char *text = error ? error->text : "no error given";
    bool held = pmap__screen_hold();

    if (prefix && *prefix)
        fprintf(stderr, "%s: %s\n", prefix, text);
    else
        fprintf(stderr, "%s\n", text);
    pmap__screen_release(held);
}

enum pmap_status pmap__error_set(struct pmap_error *error, enum pmap_status status, const char *format, ...)
{
    if (error == NULL)
        return status;
    *error = (struct pmap_error){.status = status, .item = PMAP_NO_ITEM, .rank = -1, .thread = -1};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

/* The code comes last and must not be what a long text cuts off. */
void pmap__error_append(struct pmap_error *error, int code, const char *text)
{
    char tail[32];
    int tail_size = snprintf(tail, sizeof tail, " (code %d)", code);
    size_t used = strlen(error->text), room = sizeof error->text - used;

    error->code = code;
    if (room > (size_t)tail_size + 1)
        snprintf(error->text + used, room, "%.*s%s", (int)(room - (size_t)tail_size - 1), text, tail);
}

static bool quiet(void)
{
    const char *log = getenv("PMAP_LOG");
    return log && strcmp(log, "quiet") == 0;
}

enum pmap_status pmap__error_report(struct pmap_error *wanted, const struct pmap_error *error)
{
    if (wanted)
        *wanted = *error;
    else if (!quiet())
        pmap_perror(NULL, error);
    return error->status;
}

void pmap__warn(const char *format, ...)
{
    if (quiet())
        return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bool held = pmap__screen_hold();
    fprintf(stderr, "pmap: %s\n", text);
    pmap__screen_release(held);
}
