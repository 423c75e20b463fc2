/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/report.h"

#include "base/error.h"
#include "report/page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- From the run to the page ---- */

static bool print(FILE *out, const struct pmap__run *run)
{
    struct pmap__losses losses = {.of_call = NULL};
    struct pmap__figures figures = {.n_bins = 0};
    struct pmap__advices advices = {.list = NULL};
    const struct pmap__page page = {run, &losses, &figures, &advices};
    bool well = pmap__losses_count(&losses, run) && pmap__figures_count(&figures, run) &&
                pmap__advices_find(&advices, run, &losses, &figures) && pmap__page_print(out, &page);

    pmap__advices_fini(&advices);
    pmap__figures_fini(&figures);
    pmap__losses_fini(&losses);
    return well;
}

/* ---- Files ---- */

static enum pmap_status cannot(struct pmap_error *error, const char *path, const char *verb)
{
    return pmap__error_set(error, PMAP_EINVAL, "pmap: %s cannot be %s: %s", path, verb, strerror(errno));
}

struct text {
    char *bytes; /* malloc'ed */
    size_t size;
};

/* A page is written when it is whole: what is being written while the process is ended stays behind. */
static enum pmap_status compose(struct text *text, const struct pmap__run *run, struct pmap_error *error)
{
    struct text page = {.bytes = NULL};
    FILE *out = open_memstream(&page.bytes, &page.size);
    bool well = out && print(out, run);

    if (out && fclose(out) != 0)
        well = false;
    if (!well) {
        free(page.bytes);
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the report of %s", run->file);
    }
    *text = page;
    return PMAP_OK;
}

static enum pmap_status print_to(FILE *out, const char *path, const struct text *page, struct pmap_error *error)
{
    if (fwrite(page->bytes, 1, page->size, out) != page->size || fflush(out) != 0)
        return cannot(error, path, "written");
    return PMAP_OK;
}

/* A stream to a file that is new. What has its name was left behind by a process of this number, which is no more. */
static FILE *open_aside(const char *aside)
{
    int fd;

    unlink(aside);
    fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return fd >= 0 ? fdopen(fd, "w") : NULL;
}

static enum pmap_status write_aside(const char *aside, const char *path, const struct text *page, struct pmap_error *error)
{
    FILE *out = open_aside(aside);
    enum pmap_status status;

    if (out == NULL)
        return cannot(error, path, "written");
    status = print_to(out, path, page, error);
    if (fclose(out) != 0 && status == PMAP_OK)
        status = cannot(error, path, "written");
    if (status == PMAP_OK && rename(aside, path) != 0)
        status = cannot(error, path, "written");
    if (status != PMAP_OK)
        unlink(aside);
    return status;
}

/* A page is renamed into place only where there is a regular file, or none: not over a device or a pipe. */
static bool is_special(const char *path)
{
    struct stat what;

    return stat(path, &what) == 0 && !S_ISREG(what.st_mode);
}

static enum pmap_status write_there(const char *path, const struct text *page, struct pmap_error *error)
{
    FILE *out = fopen(path, "w");
    enum pmap_status status = out ? print_to(out, path, page, error) : cannot(error, path, "written");

    if (out && fclose(out) != 0 && status == PMAP_OK)
        status = cannot(error, path, "written");
    return status;
}

static enum pmap_status write_page(const char *path, const struct text *page, struct pmap_error *error)
{
    size_t size = strlen(path) + 32;
    enum pmap_status status;
    char *aside;

    if (strcmp(path, "-") == 0)
        return print_to(stdout, "standard output", page, error);
    if (is_special(path))
        return write_there(path, page, error);
    aside = malloc(size);
    if (aside == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the report %s", path);
    snprintf(aside, size, "%s.%ld", path, (long)getpid());
    status = write_aside(aside, path, page, error);
    free(aside);
    return status;
}

static enum pmap_status convert(FILE *in, const char *name, const char *path, struct pmap_error *error)
{
    struct pmap__run run;
    struct text page;
    enum pmap_status status = pmap__run_read(&run, in, name, error);

    if (status != PMAP_OK)
        return status;
    status = compose(&page, &run, error);
    pmap__run_fini(&run);
    if (status != PMAP_OK)
        return status;
    status = write_page(path, &page, error);
    free(page.bytes);
    return status;
}

enum pmap_status pmap__report_write(const char *trace, size_t size, const char *path, struct pmap_error *error)
{
    FILE *in = size ? fmemopen((void *)(uintptr_t)trace, size, "r") : NULL; /* it is only read */
    enum pmap_status status;

    if (in == NULL)
        return size ? pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the report %s", path)
                    : pmap__error_set(error, PMAP_EINVAL, "pmap: no report %s: the trace is empty", path);
    status = convert(in, "the trace", path, error);
    fclose(in);
    return status;
}

enum pmap_status pmap__report_write_file(const char *trace, const char *path, struct pmap_error *error)
{
    FILE *in;
    enum pmap_status status;

    if (strcmp(trace, "-") == 0)
        return convert(stdin, "standard input", path, error);
    in = fopen(trace, "r");
    if (in == NULL)
        return cannot(error, trace, "read");
    status = convert(in, trace, path, error);
    fclose(in);
    return status;
}
