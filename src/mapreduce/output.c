/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A file begins in one of two ways, and that decides how it ends:
 *
 *     without a name   O_TMPFILE in the directory it will be in. It gets its name by linkat, which never replaces: if there is a former
 *                      file, it gets a name aside first, and is renamed. Only in that instant a kill leaves something behind. Of very
 *                      many files those that find half of the descriptors taken get their name aside when they are finished.
 *     with one         where there is no O_TMPFILE (NFS, Lustre, old kernels), or no /proc to link the file from: a new name aside, and
 *                      rename.
 *
 * A writer of a shared file has neither to do: it writes into its place, and the root renames the whole. */
#include "mapreduce/output.h"
#include "base/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct pmap__outfile {
    int fd;           /* -1: closed, by finish */
    int failed;       /* errno of a write that failed: the file is good for nothing */
    char *path;       /* as it was given, for the texts */
    char *target;     /* what it will be called; NULL: a part of a shared file */
    char *aside;      /* what it is called; NULL: it has no name */
    uint64_t place;   /* where it begins in a shared file; else 0 */
    uint64_t written; /* bytes that left the buffer */
    size_t used, capacity;
    char *buffer;     /* NULL: finished */
};

static enum pmap_status refused(const char *path, const char *why, struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EINVAL, "pmap: output %s: %s", path, why);
}

static enum pmap_status failed(const char *path, int code, struct pmap_error *error)
{
    if (code == ENOMEM)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: output %s: out of memory", path);
    return refused(path, strerror(code), error);
}

/* ---- Names ---- */

/* The directory part of a path, malloc'ed, and *name the rest. */
static char *directory_of(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');

    *name = slash ? slash + 1 : path;
    if (slash == NULL)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* A link stands for the file that it points to, if that is there. NULL: errno says why. */
static char *target_of(const char *path)
{
    char *target = realpath(path, NULL);
    return target || errno == ENOMEM ? target : strdup(path);
}

static unsigned random_word(void)
{
    unsigned word;

    if (getrandom(&word, sizeof word, GRND_NONBLOCK) != sizeof word)
        word = (unsigned)clock() * 2654435761u ^ (unsigned)getpid() << 16; /* the name need only be rare: O_EXCL does the rest */
    return word;
}

/* .NAME.pmap-1a2b3c4d beside target, another each time; malloc'ed. A long NAME is cut, for a name has at most NAME_MAX bytes. */
static char *name_aside(const char *target)
{
    const char *name;
    char *directory = directory_of(target, &name), *aside = NULL;

    if (directory && asprintf(&aside, "%s/.%.*s.pmap-%08x", directory, NAME_MAX - 15, name, random_word()) < 0)
        aside = NULL;
    free(directory);
    return aside;
}

/* ---- Beginning ---- */

/* Why path can be no file; NULL: it can. That its directory is missing is found when the file is made there. */
static const char *obstacle(const char *path)
{
    struct stat status;
    const char *slash = strrchr(path, '/');

    if (stat(path, &status) != 0) {
        bool directory = slash && slash[1] == '\0';
        return errno != ENOENT || *path == '\0' ? strerror(errno) : directory ? strerror(EISDIR) : NULL;
    }
    return S_ISREG(status.st_mode) ? NULL : S_ISDIR(status.st_mode) ? strerror(EISDIR) : "it is there, and is no regular file";
}

static void proc_name(char name[32], int fd)
{
    snprintf(name, 32, "/proc/self/fd/%d", fd);
}

/* A file without a name in the directory of target; -1: that is not to be had. */
static int open_nameless(const char *target)
{
    const char *name;
    char proc[32], *directory = directory_of(target, &name);
    int fd = directory ? open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666) : -1;

    free(directory);
    if (fd < 0)
        return -1;
    proc_name(proc, fd);
    if (access(proc, F_OK) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A new file with a name aside, malloc'ed; -1: errno says why. The loop ends at the first name that is free. */
static int open_aside(const char *target, char **aside)
{
    int fd;

    do {
        char *name = name_aside(target);
        if (name == NULL) {
            errno = ENOMEM;
            return -1;
        }
        fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
        if (fd >= 0)
            *aside = name;
        else
            free(name);
    } while (fd < 0 && errno == EEXIST);
    return fd;
}

/* A file cannot be made: where, and why. */
static enum pmap_status not_made(const char *path, int code, struct pmap_error *error)
{
    const char *name;
    char *directory = code == ENOMEM ? NULL : directory_of(path, &name);

    if (directory == NULL)
        return failed(path, ENOMEM, error);
    pmap__error_set(error, PMAP_EINVAL, "pmap: output %s: cannot make a file in directory %s: %s", path, directory, strerror(code));
    free(directory);
    return PMAP_EINVAL;
}

static struct pmap__outfile *file_alloc(const char *path, size_t buffer)
{
    struct pmap__outfile *file = malloc(sizeof *file);

    if (file == NULL)
        return NULL;
    *file = (struct pmap__outfile){.fd = -1, .capacity = buffer, .path = strdup(path), .buffer = malloc(buffer ? buffer : 1)};
    if (file->path && file->buffer)
        return file;
    pmap__file_abandon(file);
    return NULL;
}

enum pmap_status pmap__file_create(const char *path, size_t buffer, struct pmap__outfile **file, struct pmap_error *error)
{
    const char *why = obstacle(path);
    if (why)
        return refused(path, why, error);
    struct pmap__outfile *made = file_alloc(path, buffer);
    if (made)
        made->target = target_of(path);
    if (made == NULL || made->target == NULL) {
        pmap__file_abandon(made);
        return failed(path, ENOMEM, error);
    }
    made->fd = open_nameless(made->target);
    if (made->fd < 0)
        made->fd = open_aside(made->target, &made->aside);
    if (made->fd < 0) {
        enum pmap_status status = not_made(path, errno, error);
        pmap__file_abandon(made);
        return status;
    }
    *file = made;
    return PMAP_OK;
}

/* ---- Writing ---- */

static enum pmap_status write_failed(const struct pmap__outfile *file, struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EINVAL, "pmap: output %s: %s (after %llu bytes)", file->path, strerror(file->failed),
                           (unsigned long long)file->written);
}

static enum pmap_status write_out(struct pmap__outfile *file, const char *bytes, size_t size, struct pmap_error *error)
{
    while (size > 0 && !file->failed) {
        ssize_t n = pwrite(file->fd, bytes, size, (off_t)(file->place + file->written));
        if (n > 0) {
            file->written += (uint64_t)n;
            bytes += n;
            size -= (size_t)n;
        } else if (n == 0 || errno != EINTR)
            file->failed = n == 0 ? EIO : errno;
    }
    return file->failed ? write_failed(file, error) : PMAP_OK;
}

static enum pmap_status flush(struct pmap__outfile *file, struct pmap_error *error)
{
    size_t used = file->used;

    file->used = 0;
    return write_out(file, file->buffer, used, error);
}

enum pmap_status pmap__file_put(struct pmap__outfile *file, const void *bytes, size_t size, struct pmap_error *error)
{
    if (size > file->capacity - file->used) {
        enum pmap_status status = flush(file, error);
        if (status != PMAP_OK)
            return status;
        if (size >= file->capacity)
            return write_out(file, bytes, size, error);
    }
    if (size)
        memcpy(file->buffer + file->used, bytes, size);
    file->used += size;
    return file->failed ? write_failed(file, error) : PMAP_OK;
}

enum pmap_status pmap__file_put_pair(struct pmap__outfile *file, const struct pmap__formatter *formatter, struct pmap_view key,
                                     struct pmap_view value, struct pmap_error *error)
{
    struct pmap__pieces pieces;
    enum pmap_status status = PMAP_OK;

    pmap__format_cut(formatter, key, value, &pieces);
    for (int i = 0; i < pieces.n && status == PMAP_OK; i++)
        status = pmap__file_put(file, pieces.piece[i].data, pieces.piece[i].size, error);
    return status;
}

uint64_t pmap__file_size(const struct pmap__outfile *file)
{
    return file->written + file->used;
}

/* ---- Ending ---- */

/* A file without a name is one as long as it is open. So many may be, and other things want descriptors, too. */
static bool are_few(int fd)
{
    long most = sysconf(_SC_OPEN_MAX);
    return most < 0 || fd < most / 2;
}

/* Link a file without a name to a name aside. Its errno, or 0. The loop ends at the first name that is free. */
static int link_aside(struct pmap__outfile *file)
{
    char proc[32];
    int made;

    proc_name(proc, file->fd);
    do {
        char *name = name_aside(file->target);
        if (name == NULL)
            return ENOMEM;
        made = linkat(AT_FDCWD, proc, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
        if (made == 0)
            file->aside = name;
        else
            free(name);
    } while (made != 0 && errno == EEXIST);
    return made == 0 ? 0 : errno;
}

enum pmap_status pmap__file_finish(struct pmap__outfile *file, struct pmap_error *error)
{
    enum pmap_status status = flush(file, error);

    if (status != PMAP_OK)
        return status;
    free(file->buffer);
    file->buffer = NULL;
    file->capacity = 0;
    bool nameless = file->target && !file->aside;
    if (file->fd < 0 || (nameless && are_few(file->fd)))
        return PMAP_OK;
    if (nameless && (file->failed = link_aside(file)) != 0)
        return write_failed(file, error);
    int closed = close(file->fd);
    file->fd = -1;
    if (closed == 0 || errno == EINTR) /* it is closed in either case */
        return PMAP_OK;
    file->failed = errno;
    return write_failed(file, error);
}

/* Link a file without a name to its target, or, if there is a former file, to a name aside. Its errno, or 0. */
static int link_somewhere(struct pmap__outfile *file)
{
    char proc[32];

    proc_name(proc, file->fd);
    if (linkat(AT_FDCWD, proc, AT_FDCWD, file->target, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    return errno == EEXIST ? link_aside(file) : errno;
}

enum pmap_status pmap__file_commit(struct pmap__outfile *file, struct pmap_error *error)
{
    enum pmap_status status = pmap__file_finish(file, error);
    int code = 0;

    if (status == PMAP_OK && file->target) {
        code = file->aside ? 0 : link_somewhere(file);
        if (file->aside && rename(file->aside, file->target) != 0)
            code = errno;
        else if (code == 0) {
            free(file->aside); /* the name is gone: nothing for abandon to remove */
            file->aside = NULL;
        }
    }
    if (code)
        status = failed(file->path, code, error);
    pmap__file_abandon(file);
    return status;
}

void pmap__file_abandon(struct pmap__outfile *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        close(file->fd);
    if (file->aside)
        unlink(file->aside);
    free(file->aside);
    free(file->target);
    free(file->path);
    free(file->buffer);
    free(file);
}

/* ---- Shared files ---- */

enum pmap_status pmap__shared_file_create(const char *path, uint64_t size, char **aside, struct pmap_error *error)
{
    const char *why = obstacle(path);
    if (why)
        return refused(path, why, error);
    char *name, *target = target_of(path);
    int fd = target ? open_aside(target, &name) : -1, code = errno;
    free(target);
    if (fd < 0)
        return not_made(path, target ? code : ENOMEM, error);
    code = size > INT64_MAX ? EFBIG : ftruncate(fd, (off_t)size) == 0 ? 0 : errno;
    if (close(fd) != 0 && code == 0)
        code = errno;
    if (code) {
        pmap__shared_file_abandon(name);
        free(name);
        return failed(path, code, error);
    }
    *aside = name;
    return PMAP_OK;
}

enum pmap_status pmap__shared_file_open(const char *aside, uint64_t size, uint64_t offset, size_t buffer, struct pmap__outfile **file,
                                        struct pmap_error *error)
{
    struct pmap__outfile *made = file_alloc(aside, buffer);
    struct stat status;
    enum pmap_status result = PMAP_OK;

    if (made == NULL)
        return failed(aside, ENOMEM, error);
    made->place = offset;
    made->fd = open(aside, O_WRONLY | O_CLOEXEC);
    if (made->fd < 0 || fstat(made->fd, &status) != 0)
        result = failed(aside, errno, error);
    else if ((uint64_t)status.st_size != size)
        result = pmap__error_set(error, PMAP_EINVAL, "pmap: output %s: it has %lld bytes, not %llu: do all ranks see the same file system?",
                                 aside, (long long)status.st_size, (unsigned long long)size);
    if (result == PMAP_OK)
        *file = made;
    else
        pmap__file_abandon(made);
    return result;
}

enum pmap_status pmap__shared_file_commit(const char *aside, const char *path, struct pmap_error *error)
{
    char *target = target_of(path);
    int code = target == NULL ? ENOMEM : rename(aside, target) == 0 ? 0 : errno;

    free(target);
    if (code == 0)
        return PMAP_OK;
    pmap__shared_file_abandon(aside);
    return failed(path, code, error);
}

void pmap__shared_file_abandon(const char *aside)
{
    unlink(aside);
}

/* ---- Directories ---- */

enum pmap_status pmap__directory_make(const char *path, struct pmap_error *error)
{
    struct stat status;

    if (mkdir(path, 0777) == 0)
        return PMAP_OK;
    int code = errno;
    if (code == EEXIST && stat(path, &status) == 0)
        code = S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
    return code ? failed(path, code, error) : PMAP_OK;
}

/* Is this the name of a part from number n on, just as the library writes it? */
static bool is_part(const char *name, size_t n)
{
    char same[64];

    if (strncmp(name, "part-", 5) != 0)
        return false;
    unsigned long long number = strtoull(name + 5, NULL, 10);
    snprintf(same, sizeof same, "part-%05llu", number);
    return number >= n && strcmp(name, same) == 0;
}

/* Its errno, or 0. */
static int trim(DIR *directory, size_t n)
{
    const struct dirent *entry;
    struct stat status;

    while (errno = 0, entry = readdir(directory), entry != NULL) {
        if (!is_part(entry->d_name, n) || fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(status.st_mode))
            continue;
        if (unlinkat(dirfd(directory), entry->d_name, 0) != 0 && errno != ENOENT)
            break;
    }
    return errno;
}

enum pmap_status pmap__directory_trim(const char *path, size_t n, struct pmap_error *error)
{
    DIR *directory = opendir(path);
    int code = directory ? trim(directory, n) : errno;

    if (directory)
        closedir(directory);
    return code ? failed(path, code, error) : PMAP_OK;
}
