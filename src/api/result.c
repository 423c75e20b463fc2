/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What one may ask the result of an async call.
 */
#include "api/api.h"

#include "base/error.h"
#include "engine/wait.h"

static bool is_done(const void *result)
{
    return pmap__job_is_done(&((const struct pmap_result *)result)->job);
}

/* Wait; what fails is reported, but for a timeout. */
static enum pmap_status await(const char *call, struct pmap_result *result, double timeout, struct pmap_error *error)
{
    if (result == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "%s: result is NULL", call);
    enum pmap_status status = pmap__timeout_check(call, timeout, error);
    if (status != PMAP_OK || is_done(result))
        return status;
    if (timeout != 0)
        status = pmap__may_wait(call, error);
    if (status != PMAP_OK)
        return status;
    pmap__job_watch(&result->job);
    return pmap__wait(is_done, result, pmap__deadline(timeout)) ? PMAP_OK : pmap__timed_out(call, error);
}

static enum pmap_status report(enum pmap_status status, struct pmap_error *wanted, const struct pmap_error *error)
{
    if (status == PMAP_OK)
        return PMAP_OK;
    if (status != PMAP_ETIMEOUT)
        return pmap__error_report(wanted, error);
    if (wanted)
        *wanted = *error;
    return status;
}

enum pmap_status pmap_result_wait(struct pmap_result *result, double timeout)
{
    struct pmap_error error;
    return report(await("pmap_result_wait", result, timeout, &error), NULL, &error);
}

enum pmap_status pmap_result_get(struct pmap_result *result, double timeout, struct pmap_error *wanted)
{
    struct pmap_error error;
    enum pmap_status status = await("pmap_result_get", result, timeout, &error);

    if (status == PMAP_OK) {
        pmap__recall_settle(&result->job);
        status = pmap__job_outcome(&result->job, &error);
    }
    return report(status, wanted, &error);
}

bool pmap_result_ready(struct pmap_result *result)
{
    return result && pmap__wait(is_done, result, 0);
}

enum pmap_status pmap_result_successful(struct pmap_result *result, bool *successful)
{
    struct pmap_error error;

    if (result == NULL || successful == NULL)
        pmap__error_set(&error, PMAP_EINVAL, "pmap_result_successful: %s is NULL", result ? "successful" : "result");
    else if (!is_done(result))
        pmap__error_set(&error, PMAP_EINVAL, "pmap_result_successful: the result is not ready yet");
    else {
        *successful = pmap__job_outcome(&result->job, &error) == PMAP_OK;
        return PMAP_OK;
    }
    return pmap__error_report(NULL, &error);
}

enum pmap_status pmap_result_cancel(struct pmap_result *result)
{
    struct pmap_error error;

    if (result == NULL) {
        pmap__error_set(&error, PMAP_EINVAL, "pmap_result_cancel: result is NULL");
        return pmap__error_report(NULL, &error);
    }
    if (!is_done(result))
        pmap__root_cancel(result->job.root, &result->job);
    return PMAP_OK;
}

void pmap_result_free(struct pmap_result *result)
{
    if (result)
        pmap__job_forget(&result->job);
}

/* ---- Several ---- */

struct several {
    struct pmap_result *const *results;
    size_t n;
    enum pmap_until until;
    size_t *at;  /* results in front of it need no look any more */
    size_t *hit; /* the result that ended the wait */
};

/* All that are left are done, or only the first that is not is worth a look when something has ended. */
static bool all_done(const struct several *s)
{
    for (; *s->at < s->n; ++*s->at) {
        struct pmap_result *result = s->results[*s->at];
        if (result == NULL)
            continue;
        if (!is_done(result))
            pmap__job_watch(&result->job);
        if (!is_done(result))
            return false;
        if (*s->hit == s->n)
            *s->hit = *s->at;
    }
    return true;
}

static bool failed(struct pmap_result *result)
{
    struct pmap_error error;
    return pmap__job_outcome(&result->job, &error) != PMAP_OK;
}

static bool one_done(const struct several *s, bool only_failed)
{
    bool pending = false;

    for (size_t i = 0; i < s->n; i++) {
        struct pmap_result *result = s->results[i];
        if (result == NULL)
            continue;
        if (!is_done(result)) {
            pending = true;
        } else if (!only_failed || failed(result)) {
            *s->hit = i;
            return true;
        }
    }
    return !pending;
}

static bool is_over(const void *argument)
{
    const struct several *s = argument;
    return s->until == PMAP_ALL ? all_done(s) : one_done(s, s->until == PMAP_FIRST_ERROR);
}

static enum pmap_status check_several(const struct several *s, double timeout, struct pmap_error *error)
{
    if (s->results == NULL && s->n > 0)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_wait: results is NULL, but n is %zu", s->n);
    if (s->until > PMAP_FIRST_ERROR)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_wait: until is %d, none of the enum's", (int)s->until);
    return pmap__timeout_check("pmap_wait", timeout, error);
}

enum pmap_status pmap_wait(struct pmap_result *const results[], size_t n, enum pmap_until until, double timeout,
                           size_t *index)
{
    size_t at = 0, hit = n;
    struct several s = {results, n, until, &at, &hit};
    struct pmap_error error;

    enum pmap_status status = check_several(&s, timeout, &error);
    if (status == PMAP_OK && !is_over(&s)) {
        if (timeout != 0)
            status = pmap__may_wait("pmap_wait", &error);
        for (size_t i = 0; until != PMAP_ALL && i < n; i++)
            if (results[i])
                pmap__job_watch(&results[i]->job);
        if (status == PMAP_OK && !pmap__wait(is_over, &s, pmap__deadline(timeout)))
            return pmap__timed_out("pmap_wait", NULL);
    }
    if (status != PMAP_OK)
        return pmap__error_report(NULL, &error);
    if (index)
        *index = hit;
    return PMAP_OK;
}
