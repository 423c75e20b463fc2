/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap-run: a farm for commands, used like GNU parallel, on the ranks of an MPI job or the cores of one machine. See its manual.
 *
 * Read in this order: template.h, inputs.h, feed.h (what to run); child.h, keeper.h, order.h (running it, on any rank); job.h, farm.h (the root; farm.c has the story);
 * show.h, log.h, done.h, results.h, halt.h, progress.h (what becomes of it).
 */
#include "tools/run/farm.h"
#include "tools/run/keeper.h"
#include "tools/run/order.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static int run_on_root(struct pmap_pool *pool, const struct run_options *options)
{
    if (options->wrong[0]) {
        fprintf(stderr, "pmap-run: %s\nTry pmap-run --help\n", options->wrong);
        return 255;
    }
    if (options->help || options->version) {
        if (options->help)
            run_options_help();
        else
            printf("pmap-run (pmap) %s\n", pmap_version());
        return fflush(stdout) == 0 ? 0 : 255;
    }
    return run_farm(pool, options);
}

int main(int argc, char *argv[])
{
    struct run_options options;
    struct pmap_pool *pool;
    int status = 0;

    run_order_prepare();
    run_options_read(&options, argc, argv);
    if (!run_keeper_start()) {
        fprintf(stderr, "pmap-run: cannot start: %s\n", strerror(errno));
        return 255;
    }
    signal(SIGPIPE, SIG_IGN); /* a reader that has gone is told like a full disk */
    if (pmap_create(&pool, .threads = options.threads, .survive = options.survive) != PMAP_OK)
        status = 255;
    else if (pool)
        status = run_on_root(pool, &options);
    pmap_destroy(pool);
    run_keeper_stop();
    run_options_free(&options);
    return status;
}
