/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Two buffers: one is being filled, under the lock, the other is the writer's, or empty. The file has a lock of its own, which
 * the writer holds for a transaction, and readers for a row. Whoever needs both takes none of them inside the other.
 */
#include "journal/journal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/thread.h"
#include "base/will.h"
#include "journal/ledger.h"
#include "journal/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGE (100 * PMAP__MS)          /* of the first result in a buffer when the writer takes it; a commit takes a fraction of one */
#define LARGE ((size_t)4 << 20)       /* bytes of a buffer that it takes at once */
#define KEPT (4 * LARGE)              /* bytes of room that an empty buffer may have */
#define HURRY (500 * PMAP__MS)        /* how long pmap__journals_flush tries */

/* A call that is new, or a result: then its bytes follow, rounded up, and the pointer to them means nothing. */
struct record {
    const struct call *call; /* NULL: a result */
    struct pmap__row row;
};

/* Records side by side. */
struct buffer {
    char *bytes;
    size_t size, room;
};

struct call {
    struct pmap__journal_call what;
    uint64_t number;
    struct call *next;
    struct call *same; /* the next with the same hash */
};

struct pmap__journal {
    char *path, *real;          /* as it was given; and without links, from the root of the file system */
    dev_t device;
    ino_t inode;
    struct pmap__journal *next; /* of those that are open */
    struct pmap__number_table known;   /* a key's 64 bits -> its row; nobody writes to it after open */
    size_t most;                /* bytes of a result */
    uint64_t identity, run;     /* as pmap__journal_place says; nobody writes to them after open */
    void (*alarm)(void *owner);
    void *owner;

    pthread_mutex_t file;
    struct pmap__ledger *ledger;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t work;  /* for the writer */
    pthread_cond_t done;  /* a buffer has been written, or never will be */
    struct pmap__number_table counts; /* a hash's 64 bits -> how often it came in this run */
    struct call *calls;   /* the newest first */
    struct pmap__number_table by_hash; /* a hash of what a call is -> the first with it, as a number */
    uint64_t n_calls;
    struct buffer filling, writing;
    uint64_t since;       /* the clock when the first result came into filling */
    uint64_t added, saved; /* records so far; of them, those that are in the file */
    bool urgent, stop, warned;
    bool has_writer;
    pthread_t writer;
    atomic_bool broken;
    struct pmap_error why;
    atomic_size_t holders; /* whoever opened it, until it is closed, and those that hold it */
};

/* The journals that this process has open. */
static struct {
    pthread_mutex_t lock;
    struct pmap__journal *first;
    pid_t process; /* whose they are; 0: none has ever been opened. A child of fork has no writer */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- Calls ---- */

static void call_free(struct call *call)
{
    if (call) {
        free((void *)(uintptr_t)call->what.name);
        free((void *)(uintptr_t)call->what.task);
        free((void *)(uintptr_t)call->what.signature);
        free((void *)(uintptr_t)call->what.op);
    }
    free(call);
}

static struct call *call_copy(const struct pmap__journal_call *what, uint64_t number)
{
    struct call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->number = number;
    call->what.name = strdup(what->name);
    call->what.task = strdup(what->task);
    call->what.signature = strdup(what->signature);
    call->what.op = strdup(what->op ? what->op : "");
    if (call->what.name && call->what.task && call->what.signature && call->what.op)
        return call;
    call_free(call);
    return NULL;
}

static bool is_call(const struct call *call, const struct pmap__journal_call *what)
{
    return strcmp(call->what.name, what->name) == 0 && strcmp(call->what.task, what->task) == 0 &&
           strcmp(call->what.signature, what->signature) == 0 && strcmp(call->what.op, what->op ? what->op : "") == 0;
}

static uint64_t hash_of(const struct pmap__journal_call *what)
{
    const char *words[] = {what->name, what->task, what->signature, what->op ? what->op : ""};
    uint64_t h = PMAP__HASH_BEGIN;

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        h = pmap__hash(h, words[i], strlen(words[i]) + 1);
    return h;
}

/* Under the lock, as the next. NULL: it is new. */
static struct call *find_call(const struct pmap__journal *j, const struct pmap__journal_call *what)
{
    struct call *call = (struct call *)(uintptr_t)pmap__number_table_find(&j->by_hash, hash_of(what));

    while (call && !is_call(call, what))
        call = call->same;
    return call;
}

static struct call *keep_call(struct pmap__journal *j, const struct pmap__journal_call *what, uint64_t number)
{
    uint64_t *first = pmap__number_table_at(&j->by_hash, hash_of(what));
    struct call *call = first ? call_copy(what, number) : NULL;

    if (call == NULL)
        return NULL;
    call->same = (struct call *)(uintptr_t)*first;
    *first = (uint64_t)(uintptr_t)call;
    if (j->n_calls < number)
        j->n_calls = number;
    call->next = j->calls;
    j->calls = call;
    return call;
}

/* ---- The buffer; under the lock ---- */

static size_t rounded(size_t size)
{
    return (size + 7) / 8 * 8;
}

static void become_broken(struct pmap__journal *j, const struct pmap_error *why)
{
    if (atomic_load(&j->broken))
        return;
    j->why = *why;
    atomic_store(&j->broken, true);
    j->urgent = true; /* for the writer to ring the alarm */
    pthread_cond_signal(&j->work);
    pthread_cond_broadcast(&j->done);
}

static bool grow(struct buffer *buffer, size_t need)
{
    size_t room = 2 * buffer->room > need ? 2 * buffer->room : need;

    if (need <= buffer->room)
        return true;
    char *bytes = realloc(buffer->bytes, room);
    if (bytes == NULL)
        return false;
    buffer->bytes = bytes;
    buffer->room = room;
    return true;
}

/* Wait until there is room for so many bytes more; false if the journal is broken. */
static bool await_room(struct pmap__journal *j, size_t more)
{
    struct pmap_error error;

    while (!atomic_load(&j->broken)) {
        bool full = j->filling.size > 0 && j->filling.size + more > PMAP__JOURNAL_ROOM;
        if (!full && grow(&j->filling, j->filling.size + more))
            return true;
        if (j->filling.size == 0) {
            pmap__error_set(&error, PMAP_EJOURNAL, "pmap: journal %s: no memory for a result of %zu bytes", j->path, more);
            become_broken(j, &error);
            return false;
        }
        j->urgent = true;
        pthread_cond_signal(&j->work);
        pthread_cond_wait(&j->done, &j->lock);
    }
    return false;
}

/* False if the journal is broken. */
static bool append(struct pmap__journal *j, const struct record *record)
{
    size_t size = sizeof *record + rounded(record->row.size);

    if (!await_room(j, size))
        return false;
    if (j->filling.size == 0) {
        j->since = pmap__now();
        pthread_cond_signal(&j->work); /* from now on it has a deadline */
    }
    char *to = j->filling.bytes + j->filling.size;
    memcpy(to, record, sizeof *record);
    if (record->row.size)
        memcpy(to + sizeof *record, record->row.result, record->row.size);
    j->filling.size += size;
    j->added++;
    return true;
}

/* ---- The writer ---- */

static enum pmap_status write_record(struct pmap__journal *j, const char *bytes, size_t *size, struct pmap_error *error)
{
    struct record record;

    memcpy(&record, bytes, sizeof record);
    record.row.result = bytes + sizeof record;
    *size = sizeof record + rounded(record.row.size);
    if (record.call)
        return pmap__ledger_put_call(j->ledger, record.call->number, &record.call->what, error);
    return pmap__ledger_put(j->ledger, &record.row, error);
}

/* All of the writer's buffer in one transaction. */
static enum pmap_status write_buffer(struct pmap__journal *j, uint64_t *n, struct pmap_error *error)
{
    size_t size;

    pthread_mutex_lock(&j->file);
    enum pmap_status status = pmap__ledger_begin(j->ledger, error);
    for (size_t at = 0; at < j->writing.size && status == PMAP_OK; at += size, ++*n)
        status = write_record(j, j->writing.bytes + at, &size, error);
    if (status == PMAP_OK)
        status = pmap__ledger_commit(j->ledger, error);
    if (status != PMAP_OK)
        pmap__ledger_rollback(j->ledger);
    pthread_mutex_unlock(&j->file);
    return status;
}

/* Until there is something to write, and it is time. False: there is nothing, and there will be nothing. */
static bool await_work(struct pmap__journal *j)
{
    while (!j->urgent && !j->stop && j->filling.size < LARGE) {
        uint64_t now = pmap__now();
        if (j->filling.size == 0) {
            pthread_cond_wait(&j->work, &j->lock);
        } else if (now < j->since + AGE) {
            struct timespec until = {.tv_sec = (time_t)((j->since + AGE) / PMAP__S), .tv_nsec = (long)((j->since + AGE) % PMAP__S)};
            pthread_cond_timedwait(&j->work, &j->lock, &until);
        } else {
            break;
        }
    }
    j->urgent = false;
    return !j->stop || j->filling.size > 0;
}

/* Once, if the journal has become broken. Under the lock, but for the alarm itself. */
static void ring_alarm(struct pmap__journal *j)
{
    void (*alarm)(void *) = j->alarm;
    void *owner = j->owner;

    if (!atomic_load(&j->broken) || alarm == NULL)
        return;
    j->alarm = NULL;
    pthread_mutex_unlock(&j->lock);
    alarm(owner);
    pthread_mutex_lock(&j->lock);
}

/* Results of a gigabyte are seldom; a buffer that had to take one is not kept. */
static void shrink(struct buffer *empty)
{
    if (empty->room <= KEPT)
        return;
    free(empty->bytes);
    *empty = (struct buffer){0};
}

static void *write_all(void *argument)
{
    struct pmap__journal *j = argument;
    struct pmap_error error;

    pthread_mutex_lock(&j->lock);
    while (await_work(j)) {
        struct buffer full = j->filling;
        j->filling = j->writing;
        j->filling.size = 0;
        j->writing = full;
        bool broken = atomic_load(&j->broken);
        pthread_mutex_unlock(&j->lock);
        uint64_t n = 0;
        enum pmap_status status = broken || full.size == 0 ? PMAP_OK : write_buffer(j, &n, &error);
        pthread_mutex_lock(&j->lock);
        if (status == PMAP_OK)
            j->saved += n;
        else
            become_broken(j, &error);
        j->writing.size = 0;
        shrink(&j->writing);
        pthread_cond_broadcast(&j->done);
        ring_alarm(j);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* ---- Life ---- */

static bool take_call(void *owner, uint64_t number, const struct pmap__journal_call *call)
{
    return keep_call(owner, call, number) != NULL;
}

static bool take_key(void *owner, uint64_t row, const struct pmap__journal_key *key)
{
    struct pmap__journal *j = owner;
    uint64_t *at = pmap__number_table_at(&j->known, pmap__journal_short_of(key));

    if (at)
        *at = row;
    return at != NULL;
}

void pmap__journal_hold(struct pmap__journal *j)
{
    atomic_fetch_add(&j->holders, 1);
}

void pmap__journal_release(struct pmap__journal *j)
{
    if (atomic_fetch_sub(&j->holders, 1) > 1)
        return;
    free(j->path);
    free(j->real);
    pthread_cond_destroy(&j->work);
    pthread_cond_destroy(&j->done);
    pthread_mutex_destroy(&j->lock);
    pthread_mutex_destroy(&j->file);
    free(j);
}

/* All of it, but for what can still be asked. */
static void shut(struct pmap__journal *j)
{
    pmap__ledger_close(j->ledger);
    pmap__number_table_fini(&j->known);
    pmap__number_table_fini(&j->counts);
    pmap__number_table_fini(&j->by_hash);
    while (j->calls) {
        struct call *call = j->calls;
        j->calls = call->next;
        call_free(call);
    }
    free(j->filling.bytes);
    free(j->writing.bytes);
    pmap__journal_release(j);
}

static struct pmap__journal *create(const char *path)
{
    struct pmap__journal *j = calloc(1, sizeof *j);
    pthread_condattr_t clock;

    if (j == NULL || (j->path = strdup(path)) == NULL) {
        free(j);
        return NULL;
    }
    pthread_condattr_init(&clock); /* glibc's cannot fail, nor do its mutexes */
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&j->work, &clock);
    pthread_cond_init(&j->done, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&j->lock, NULL);
    pthread_mutex_init(&j->file, NULL);
    atomic_init(&j->broken, false);
    atomic_init(&j->holders, 1);
    return j;
}

static enum pmap_status load(struct pmap__journal *j, struct pmap_error *error)
{
    enum pmap_status status = pmap__ledger_calls(j->ledger, take_call, j, error);

    if (status == PMAP_OK)
        status = pmap__ledger_keys(j->ledger, take_key, j, error);
    if (status == PMAP_OK)
        status = pmap__ledger_enter(j->ledger, error);
    if (status == PMAP_OK)
        status = pmap__ledger_identity(j->ledger, &j->identity, error);
    if (status != PMAP_OK)
        return status;
    j->run = pmap__ledger_run(j->ledger);
    j->most = pmap__ledger_most(j->ledger);
    j->has_writer = pmap__thread_start(&j->writer, write_all, j);
    return j->has_writer ? PMAP_OK : pmap__error_set(error, PMAP_ENOMEM, "pmap: journal %s: no memory for a thread", j->path);
}

/* Is the file open in this process? Under the list's lock. SQLite itself would lose its locks on a file that is opened and closed
 * beside it. */
static bool is_open(dev_t device, ino_t inode)
{
    struct pmap__journal *j = all.first;

    while (j && (j->device != device || j->inode != inode))
        j = j->next;
    return j != NULL && inode != 0;
}

static enum pmap_status open_listed(struct pmap__journal *j, const struct pmap__program *program, struct pmap_error *error)
{
    enum pmap_status status = pmap__ledger_look(j->path, &j->device, &j->inode, error);

    if (status == PMAP_OK && is_open(j->device, j->inode))
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal %s: another pool of this process uses it", j->path);
    if (status == PMAP_OK)
        status = pmap__ledger_open(&j->ledger, j->path, program, error);
    if (status == PMAP_OK)
        status = pmap__ledger_look(j->path, &j->device, &j->inode, error); /* it may be new */
    if (status == PMAP_OK && (j->real = realpath(j->path, NULL)) == NULL)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal %s: %s", j->path, strerror(errno));
    if (status == PMAP_OK)
        status = load(j, error);
    return status;
}

/* However the process ends. Under the list's lock. */
static void make_will(void)
{
    if (all.process == 0)
        atexit(pmap__journals_flush);
    all.process = getpid();
    pmap__will_make(pmap__journals_flush);
}

enum pmap_status pmap__journal_open(struct pmap__journal **journal, const char *path, uint64_t tasks, const char *version,
                                    struct pmap_error *error)
{
    struct pmap__program program = {.tasks = tasks, .version = version};
    struct pmap__journal *j = create(path);

    if (j == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: journal %s: no memory", path);
    pthread_mutex_lock(&all.lock);
    make_will();
    enum pmap_status status = open_listed(j, &program, error);
    if (status == PMAP_OK) {
        j->next = all.first;
        all.first = j;
    }
    pthread_mutex_unlock(&all.lock);
    if (status != PMAP_OK) {
        shut(j);
        return status;
    }
    *journal = j;
    return PMAP_OK;
}

enum pmap_status pmap__journal_close(struct pmap__journal *j, struct pmap_error *error)
{
    if (j == NULL)
        return PMAP_OK;
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->writer, NULL);
    bool broken = pmap__journal_broken(j, error);
    pthread_mutex_lock(&all.lock);
    struct pmap__journal **at = &all.first;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    shut(j); /* under the lock: whoever opens the file next shall find it closed */
    pthread_mutex_unlock(&all.lock);
    return broken ? PMAP_EJOURNAL : PMAP_OK;
}

void pmap__journal_alarm(struct pmap__journal *j, void (*alarm)(void *owner), void *owner)
{
    pthread_mutex_lock(&j->lock);
    j->alarm = alarm;
    j->owner = owner;
    pthread_mutex_unlock(&j->lock);
}

/* ---- What was there ---- */

bool pmap__journal_number(struct pmap__journal *j, struct pmap__journal_key keys[], size_t n)
{
    bool all_done = true;

    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < n && all_done; i++) {
        uint64_t *count = pmap__number_table_at(&j->counts, pmap__journal_short(&keys[i]));
        all_done = count != NULL;
        if (count)
            keys[i].occurrence = (*count)++;
    }
    pthread_mutex_unlock(&j->lock);
    return all_done;
}

void pmap__journal_forget(struct pmap__journal *j, const struct pmap__journal_key *key)
{
    pthread_mutex_lock(&j->lock);
    uint64_t *count = pmap__number_table_at(&j->counts, pmap__journal_short(key));
    if (count && *count == key->occurrence + 1)
        *count = key->occurrence;
    pthread_mutex_unlock(&j->lock);
}

struct pmap__journal_place pmap__journal_place(const struct pmap__journal *j)
{
    return (struct pmap__journal_place){j->real, j->identity, j->run};
}

uint64_t pmap__journal_find(const struct pmap__journal *j, const struct pmap__journal_key *key)
{
    return pmap__number_table_find(&j->known, pmap__journal_short_of(key));
}

enum pmap_status pmap__journal_read(struct pmap__journal *j, uint64_t row, const struct pmap__journal_key *key,
                                    pmap__journal_take_fn *take, void *owner, bool *found, struct pmap_error *error)
{
    const void *result;
    size_t size;

    *found = false;
    pthread_mutex_lock(&j->file);
    enum pmap_status status = pmap__ledger_read(j->ledger, row, key, found, &result, &size, error);
    if (status == PMAP_OK && *found)
        status = take(owner, result, size, error);
    pthread_mutex_unlock(&j->file);
    return status;
}

/* ---- What is new ---- */

uint64_t pmap__journal_call(struct pmap__journal *j, const struct pmap__journal_call *what)
{
    pthread_mutex_lock(&j->lock);
    struct call *call = find_call(j, what);
    if (call == NULL && (call = keep_call(j, what, j->n_calls + 1)) != NULL)
        append(j, &(struct record){.call = call});
    uint64_t number = call ? call->number : 0;
    pthread_mutex_unlock(&j->lock);
    return number;
}

/* What is too large for SQLite is computed again in the next run. */
static bool is_too_large(struct pmap__journal *j, size_t size)
{
    if (size <= j->most)
        return false;
    if (!j->warned)
        pmap__warn("journal %s: a result of %zu bytes is too large for it, and will be computed again in the next run", j->path,
                   size);
    j->warned = true;
    return true;
}

uint64_t pmap__journal_add(struct pmap__journal *j, uint64_t call, int rank, const struct pmap__journal_entry entries[], size_t n)
{
    struct record record = {.row = {.call = call, .rank = rank, .time = pmap__ledger_time()}};

    bool good = true;
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < n && good; i++) {
        record.row.key = entries[i].key;
        record.row.item = entries[i].item;
        record.row.result = entries[i].result;
        record.row.size = entries[i].size;
        if (!is_too_large(j, entries[i].size))
            good = append(j, &record);
    }
    if (j->filling.size >= LARGE)
        pthread_cond_signal(&j->work);
    uint64_t number = good ? j->added : PMAP__JOURNAL_LOST;
    pthread_mutex_unlock(&j->lock);
    return number;
}

bool pmap__journal_has(struct pmap__journal *j, uint64_t number)
{
    pthread_mutex_lock(&j->lock);
    bool has = j->saved >= number;
    pthread_mutex_unlock(&j->lock);
    return has;
}

bool pmap__journal_broken(struct pmap__journal *j, struct pmap_error *error)
{
    if (!atomic_load(&j->broken))
        return false;
    pthread_mutex_lock(&j->lock);
    if (error)
        *error = j->why;
    pthread_mutex_unlock(&j->lock);
    return true;
}

/* ---- Flushing ---- */

/* Until everything is in the file that was added so far, or the clock shows deadline. */
static void flush(struct pmap__journal *j, const struct timespec *deadline)
{
    int timed_out = 0;

    pthread_mutex_lock(&j->lock);
    uint64_t target = j->added;
    while (j->saved < target && !atomic_load(&j->broken) && !timed_out) {
        j->urgent = true;
        pthread_cond_signal(&j->work);
        if (deadline)
            timed_out = pthread_cond_timedwait(&j->done, &j->lock, deadline);
        else
            pthread_cond_wait(&j->done, &j->lock);
    }
    pthread_mutex_unlock(&j->lock);
}

enum pmap_status pmap__journal_flush(struct pmap__journal *j, struct pmap_error *error)
{
    flush(j, NULL);
    return pmap__journal_broken(j, error) ? PMAP_EJOURNAL : PMAP_OK;
}

void pmap__journals_flush(void)
{
    uint64_t until = pmap__now() + HURRY;
    struct timespec deadline = {.tv_sec = (time_t)(until / PMAP__S), .tv_nsec = (long)(until % PMAP__S)};

    if (all.process != getpid() || pthread_mutex_trylock(&all.lock) != 0)
        return; /* if one is just being opened or closed, which may take long, what it has is on its way */
    for (struct pmap__journal *j = all.first; j; j = j->next)
        flush(j, &deadline);
    pthread_mutex_unlock(&all.lock);
}
