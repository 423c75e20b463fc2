/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A test program that goes wrong on its last rank in the way that its argument says; test_shapes.sh looks whether
 * harness and runner notice. It runs in the shape that BROKEN names.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *way;

static bool going(const char *wanted) { return test_rank() == test_processes() - 1 && strcmp(way, wanted) == 0; }

static void goes_well(void) { CHECK_INT(6 * 7, 42); }

static void goes_wrong(void)
{
    if (going("fail"))
        CHECK_INT(6 * 9, 42);
    if (going("crash"))
        abort();
    if (going("leave"))
        exit(EXIT_SUCCESS);
    if (going("skip"))
        test_skip("no reason");
    while (going("hang"))
        pause();
}

static void goes_on(void) { CHECK(true); }

static const struct test tests[] = {TEST(goes_well), TEST(goes_wrong), TEST(goes_on), {NULL, NULL}};

int main(int argc, char *argv[])
{
    way = argc > 1 ? argv[1] : "";
    return test_main(argc, argv, tests, getenv("BROKEN"));
}
