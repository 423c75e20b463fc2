/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 */
#include "deaths.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct {
    const char *name;
    const char *words; /* in the text of the error */
    int code;
} deaths[DEATHS] = {
    [NO_DEATH] = {"nothing", "", 0},
    [DEATH_FAIL] = {"pmap_fail", "as asked", 7},
    [DEATH_EXIT] = {"exit(3)", "exited with status 3", -4},
    [DEATH_EXIT_0] = {"exit(0)", "exited with status 0", -1},
    [DEATH_SEGV] = {"SIGSEGV", "killed by SIGSEGV", SIGSEGV},
    [DEATH_ABORT] = {"abort", "killed by SIGABRT", SIGABRT},
    [DEATH_KILL] = {"SIGKILL", "killed by SIGKILL", SIGKILL},
    [DEATH_STACK] = {"stack overflow", "killed by SIGSEGV", SIGSEGV},
    [DEATH_LOOP] = {"endless loop", "(timeout)", SIGTERM},
};

/* The compiler may not know that this has no end. */
static int fall(volatile char *above, int depth)
{
    volatile char room[4096];

    room[0] = above ? above[0] : 1;
    return depth < 0 ? 0 : fall(room, depth + 1) + room[0];
}

/* No deeper than a stack is by default, whatever the limit is here. */
static void overflow_stack(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_STACK, &limit);
    if (limit.rlim_cur > (rlim_t)8 << 20)
        limit.rlim_cur = (rlim_t)8 << 20;
    setrlimit(RLIMIT_STACK, &limit);
    fall(NULL, 0);
}

void die(int death)
{
    switch (death) {
    case DEATH_FAIL:
        pmap_fail(7, "as asked");
        break;
    case DEATH_EXIT:
        exit(3);
    case DEATH_EXIT_0:
        exit(0);
    case DEATH_SEGV:
        raise(SIGSEGV);
        _exit(99);
    case DEATH_ABORT:
        abort();
    case DEATH_KILL:
        raise(SIGKILL);
        break;
    case DEATH_STACK:
        overflow_stack();
        break;
    case DEATH_LOOP:
        for (;;)
            sched_yield();
    default:
        break;
    }
}

const char *death_name(int death) { return deaths[death].name; }

enum pmap_status death_status(int death)
{
    return death == NO_DEATH ? PMAP_OK : death == DEATH_FAIL ? PMAP_EFAILED : PMAP_ECRASHED;
}

/* The sanitizers catch some signals, and end the process by exit; the thread sanitizer keeps SIGTERM from a loop that calls nothing. */
static bool is_sanitized(void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    return true;
#elif defined __has_feature
    return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
    return false;
#endif
}

bool death_is_told(int death, const struct pmap_error *error)
{
    bool caught = death == DEATH_SEGV || death == DEATH_STACK || death == DEATH_ABORT;

    if (error->status != death_status(death))
        return false;
    if (is_sanitized() && caught && strstr(error->text, "exited with status"))
        return true;
    if (is_sanitized() && death == DEATH_LOOP && error->code == SIGKILL)
        return strstr(error->text, deaths[death].words);
    return strstr(error->text, deaths[death].words) && error->code == deaths[death].code;
}
