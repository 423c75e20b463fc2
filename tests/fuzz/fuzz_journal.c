/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Any bytes as the file of a journal, and as its -wal file: it is refused and left as it is, or it opens, what is found in it is read or
 * refused, and more can be added. */
#include "fuzz.h"

#include "journal/journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const size_t fuzz_memory = 1 << 27;

enum { TASKS = 77, ITEMS = 20 };

static char directory[64], path[96], wal[112];

/* ---- Files ---- */

static void write_file(const char *name, const void *bytes, size_t size)
{
    int file = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    fuzz_check(file >= 0 && write(file, bytes, size) == (ssize_t)size && close(file) == 0, "files can be written");
}

/* Its bytes, from malloc, *size of them; NULL: there is no such file. */
static unsigned char *read_file(const char *name, size_t *size)
{
    struct stat s;
    int file = open(name, O_RDONLY);

    if (file < 0)
        return NULL;
    fuzz_check(fstat(file, &s) == 0, "a file has a size");
    unsigned char *bytes = malloc((size_t)s.st_size + 1);
    fuzz_check(bytes && read(file, bytes, (size_t)s.st_size) == s.st_size && close(file) == 0, "files can be read");
    *size = (size_t)s.st_size;
    return bytes;
}

static void remove_files(void)
{
    unlink(path);
    unlink(wal);
    rmdir(directory);
}

static void make_names(void)
{
    if (directory[0])
        return;
    snprintf(directory, sizeof directory, "%s/pmap-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    fuzz_check(mkdtemp(directory) != NULL, "there is a directory");
    snprintf(path, sizeof path, "%s/journal", directory);
    snprintf(wal, sizeof wal, "%s-wal", path);
    atexit(remove_files);
}

/* ---- A journal ---- */

static const struct pmap__journal_call call = {.name = "map", .task = "square", .signature = "int (int)", .task_id = 5, .seed = 1};

static struct pmap__journal_key key_of(int item)
{
    return pmap__journal_hash(pmap__journal_context(&call), &item, sizeof item);
}

static void add_all(struct pmap__journal *journal)
{
    struct pmap__journal_entry entries[ITEMS];
    int results[ITEMS];
    uint64_t number = pmap__journal_call(journal, &call);

    for (int i = 0; i < ITEMS; i++) {
        results[i] = i * i;
        entries[i] = (struct pmap__journal_entry){.key = key_of(i), .item = (size_t)i, .result = &results[i], .size = sizeof results[i]};
    }
    pmap__journal_add(journal, number, 0, entries, ITEMS);
}

static enum pmap_status take(void *owner, const void *result, size_t size, struct pmap_error *error)
{
    const unsigned char *bytes = result;
    (void)error;

    for (size_t i = 0; i < size; i++)
        *(unsigned *)owner += bytes[i]; /* all of it is there */
    return PMAP_OK;
}

static void read_all(struct pmap__journal *journal)
{
    struct pmap_error error;
    unsigned sum = 0;
    bool found;

    for (int i = 0; i < ITEMS; i++) {
        struct pmap__journal_key key = key_of(i);
        uint64_t row = pmap__journal_find(journal, &key);
        enum pmap_status status = row ? pmap__journal_read(journal, row, &key, take, &sum, &found, &error) : PMAP_OK;
        fuzz_check(status == PMAP_OK || (status == PMAP_EJOURNAL && error.text[0] != '\0'), "a row is read, or refused with a reason");
    }
}

/* What was refused is as it was. */
static void check_unchanged(const void *bytes, size_t size)
{
    size_t now = 0;
    unsigned char *there = read_file(path, &now);

    fuzz_check(there && now == size && memcmp(there, bytes, size) == 0, "a file that is refused is left as it is");
    free(there);
}

void fuzz_one(struct fuzz_input *in)
{
    struct pmap__journal *journal = NULL;
    struct pmap_error error = {.status = PMAP_OK};
    size_t wal_size = (size_t)fuzz_number(in, 2), size;
    unsigned char *bytes = fuzz_bytes(in, &wal_size);

    make_names();
    unlink(wal);
    if (wal_size)
        write_file(wal, bytes, wal_size);
    free(bytes);
    size = in->left;
    bytes = fuzz_bytes(in, &size);
    write_file(path, bytes, size);
    enum pmap_status status = pmap__journal_open(&journal, path, TASKS, NULL, &error);
    if (status == PMAP_OK) {
        read_all(journal);
        add_all(journal);
        status = pmap__journal_close(journal, &error);
        fuzz_check(status == PMAP_OK || status == PMAP_EJOURNAL, "a journal closes, or says why it is broken");
    } else {
        fuzz_check((status == PMAP_EJOURNAL || status == PMAP_ENOMEM) && error.text[0] != '\0', "a refusal has a reason");
        check_unchanged(bytes, size);
    }
    free(bytes);
}

/* ---- Seeds ---- */

static void put_journal(bool with_wal)
{
    struct pmap__journal *journal = NULL;
    struct pmap_error error;
    size_t size = 0, wal_size = 0;

    unlink(path);
    unlink(wal);
    if (pmap__journal_open(&journal, path, TASKS, NULL, &error) != PMAP_OK)
        abort();
    add_all(journal);
    pmap__journal_flush(journal, &error);
    unsigned char *early_wal = with_wal ? read_file(wal, &wal_size) : NULL, *early = with_wal ? read_file(path, &size) : NULL;
    pmap__journal_close(journal, &error);
    unsigned char *late = with_wal ? early : read_file(path, &size);
    if (wal_size >= 1 << 16 || size + wal_size >= 60000)
        abort();
    fuzz_put(wal_size, 2);
    fuzz_put_bytes(early_wal, wal_size);
    fuzz_put_bytes(late, size);
    fuzz_put_end();
    free(early_wal);
    free(late);
}

void fuzz_seeds(void)
{
    make_names();
    put_journal(false);
    put_journal(true);
}
