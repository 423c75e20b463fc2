/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the programs mismatch_*.c share: each rank says how pmap_create ended, in one line on stdout. A program
 * defines its tasks and includes this; test_mismatch.sh starts different programs as ranks of one job.
 */
#include "harness.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    struct pmap_error error = {.text = ""};
    struct pmap_pool *pool = (struct pmap_pool *)&error;
    enum pmap_status status = pmap_create(&pool, .threads = 1, .error = &error);
    char line[1024];
    int y = 0, in = 3;

    if (status == PMAP_OK && pool != NULL && (pmap_map(pool, alpha, &in, &y, 1) != PMAP_OK || y != 6))
        snprintf(error.text, sizeof error.text, "alpha(3) is %d", y);
    if (status == PMAP_OK)
        pmap_destroy(pool);
    snprintf(line, sizeof line, "rank %d: %s%s %s\n", test_rank(), pmap_status_name(status),
             status != PMAP_OK && pool != NULL ? ", but a pool:" : ":", error.text);
    return write(STDOUT_FILENO, line, strlen(line)) < 0;
}
