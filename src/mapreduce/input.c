/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Which files the input is, and how they are cut. A path stands for a file, for the files of a directory, or for what a glob matches;
 * all of it ends in take_path, which says what is no input. Only sizes are looked at here: where records begin is found by whoever
 * reads a split. */
#include "mapreduce/input.h"
#include "base/error.h"
#include "base/memory.h"
#include "mapreduce/unpack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Find ---- */

struct list {
    struct pmap__files files;
    size_t room; /* files there is memory for */
};

static enum pmap_status no_memory(struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the list of input files");
}

static enum pmap_status refused(const char *path, const char *reason, struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EINVAL, "pmap: %s: %s", pmap__path_shown(path), reason);
}

static bool make_room(struct list *list)
{
    size_t room = list->room ? list->room * 2 : 16, size;

    if (list->files.n < list->room)
        return true;
    struct pmap__file *files = pmap__multiply(room, sizeof *files, &size) ? realloc(list->files.files, size) : NULL;
    if (files == NULL)
        return false;
    list->files.files = files;
    list->room = room;
    return true;
}

/* directory/name; malloc'ed. */
static char *joined(const char *directory, const char *name)
{
    size_t size = strlen(directory);
    const char *between = directory[size - 1] == '/' ? "" : "/";
    char *path = malloc(size + strlen(name) + 2);

    if (path)
        sprintf(path, "%s%s%s", directory, between, name);
    return path;
}

static enum pmap_status take_file(struct list *list, const char *path, uint64_t size, struct pmap_error *error)
{
    bool packed = pmap__path_is_packed(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return refused(path, strerror(errno), error);
    close(fd);
    if (packed && size == 0)
        return refused(path, "it has no bytes, as no packed file", error);
    char *copy = make_room(list) ? strdup(path) : NULL;
    if (copy == NULL)
        return no_memory(error);
    list->files.files[list->files.n++] = (struct pmap__file){.path = copy, .size = size, .packed = packed};
    return PMAP_OK;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Not alphasort: that is another order in each locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum pmap_status take_path(struct list *list, const char *path, bool listed, struct pmap_error *error);

static enum pmap_status take_directory(struct list *list, const char *directory, struct pmap_error *error)
{
    struct dirent **entries;
    int n = scandir(directory, &entries, visible, by_name);
    enum pmap_status status = PMAP_OK;

    if (n < 0)
        return errno == ENOMEM ? no_memory(error) : refused(directory, strerror(errno), error);
    for (int i = 0; i < n; i++) {
        if (status == PMAP_OK) {
            char *path = joined(directory, entries[i]->d_name);
            status = path ? take_path(list, path, true, error) : no_memory(error);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* listed: it is in a directory that was given, whose own directories are left out. */
static enum pmap_status take_path(struct list *list, const char *path, bool listed, struct pmap_error *error)
{
    struct stat found;

    if (stat(path, &found) != 0)
        return refused(path, strerror(errno), error);
    if (S_ISDIR(found.st_mode))
        return listed ? PMAP_OK : take_directory(list, path, error);
    if (!S_ISREG(found.st_mode))
        return refused(path, "it is neither a file nor a directory", error);
    return take_file(list, path, (uint64_t)found.st_size, error);
}

static int by_text(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;

    return strcmp(*left, *right);
}

static enum pmap_status take_glob(struct list *list, const char *pattern, struct pmap_error *error)
{
    glob_t found = {0};
    int result = glob(pattern, GLOB_NOSORT | GLOB_ERR, NULL, &found); /* its own order is the locale's */
    enum pmap_status status = PMAP_OK;

    if (result == GLOB_NOSPACE)
        status = no_memory(error);
    else if (result == GLOB_NOMATCH)
        status = refused(pattern, "nothing has this name, and nothing matches it", error);
    else if (result != 0)
        status = refused(pattern, "a directory that may have what matches cannot be read", error);
    if (status == PMAP_OK)
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_text);
    for (size_t i = 0; status == PMAP_OK && i < found.gl_pathc; i++)
        status = take_path(list, found.gl_pathv[i], false, error);
    globfree(&found);
    return status;
}

/* What is there by this very name is meant, whatever characters are in it. */
static enum pmap_status take(struct list *list, const char *path, struct pmap_error *error)
{
    struct stat found;

    if (*path == '\0')
        return pmap__error_set(error, PMAP_EINVAL, "pmap: a path of the input is \"\"");
    if (stat(path, &found) != 0 && strpbrk(path, "*?["))
        return take_glob(list, path, error);
    return take_path(list, path, false, error);
}

enum pmap_status pmap__files_find(const char *const paths[], struct pmap__files *files, struct pmap_error *error)
{
    struct list list = {0};
    enum pmap_status status = PMAP_OK;

    if (paths == NULL || paths[0] == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "pmap: the input has no path");
    for (size_t i = 0; status == PMAP_OK && paths[i]; i++)
        status = take(&list, paths[i], error);
    if (status == PMAP_OK)
        *files = list.files;
    else
        pmap__files_free(&list.files);
    return status;
}

void pmap__files_free(struct pmap__files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->files[i].path);
    free(files->files);
    *files = (struct pmap__files){0};
}

/* ---- Cut ---- */

/* Bytes from the beginning of a split of this file to that of the next. */
static uint64_t step_of(const struct pmap__file *file, size_t split_size, size_t record_size)
{
    if (file->packed)
        return file->size;
    if (record_size == 0)
        return split_size;
    return split_size < record_size ? record_size : split_size - split_size % record_size;
}

static enum pmap_status check_size(const struct pmap__file *file, size_t record_size, struct pmap_error *error)
{
    if (file->packed || record_size == 0 || file->size % record_size == 0)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL, "pmap: %s: its %" PRIu64 " bytes are no whole number of records of %zu bytes (record_size)",
                           pmap__path_shown(file->path), file->size, record_size);
}

enum pmap_status pmap__files_cut(const struct pmap__files *files, size_t split_size, size_t record_size, struct pmap__split **splits,
                                 size_t *n, struct pmap_error *error)
{
    uint64_t count = 0, at = 0;
    size_t size;

    for (size_t i = 0; i < files->n; i++) {
        const struct pmap__file *file = &files->files[i];
        enum pmap_status status = check_size(file, record_size, error);
        if (status != PMAP_OK)
            return status;
        if (file->size > 0)
            count += (file->size - 1) / step_of(file, split_size, record_size) + 1;
    }
    struct pmap__split *cut = pmap__multiply((size_t)count, sizeof *cut, &size) ? malloc(size ? size : 1) : NULL;
    if (cut == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for %" PRIu64 " splits of the input", count);
    for (size_t i = 0; i < files->n; i++) {
        uint64_t file_size = files->files[i].size, step = file_size ? step_of(&files->files[i], split_size, record_size) : 0;
        for (uint64_t begin = 0; begin < file_size; begin += step, at++)
            cut[at] = (struct pmap__split){at, i, begin, file_size - begin > step ? begin + step : file_size};
    }
    *splits = cut;
    *n = (size_t)count;
    return PMAP_OK;
}
