/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Option structs begin with their own size, so that programs and libraries of different age fit: a caller that knows
 * fewer options leaves the rest at their defaults, one that knows more may, as long as it does not use them.
 */
#include "api/api.h"

#include "base/error.h"

#include <string.h>

enum pmap_status pmap__options_read(const char *call, const void *given, size_t least, void *known,
                                    size_t known_size, struct pmap_error *error)
{
    size_t given_size = 0;

    if (given == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "%s: options is NULL", call);
    memcpy(&given_size, given, sizeof given_size);
    if (given_size < least)
        return pmap__error_set(error, PMAP_EINVAL, "%s: options->size is %zu, not sizeof the options", call, given_size);
    for (size_t i = known_size; i < given_size; i++)
        if (((const char *)given)[i] != 0)
            return pmap__error_set(error, PMAP_EINVAL,
                                   "%s: options->size is %zu and an option beyond byte %zu is set, which pmap %s does not "
                                   "know", call, given_size, known_size, pmap_version());
    memset(known, 0, known_size);
    memcpy(known, given, given_size < known_size ? given_size : known_size);
    return PMAP_OK;
}
