/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/error.h"

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
    if (prefix && *prefix)
        fprintf(stderr, "%s: %s\n", prefix, text);
    else
        fprintf(stderr, "%s\n", text);
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
    fprintf(stderr, "pmap: %s\n", text);
}
