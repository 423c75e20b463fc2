/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How a trace talks to the recorders of other ranks (engine/recorder.h): when the pool begins it hails them, and pings those whose
 * clock is another; meanwhile letters with spans come; when the pool ends it pings again, and has all gathered. It waits for the answers,
 * but not for ever: a rank may be in a long item of another pool.
 */
#include "observe/trace.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/will.h"
#include "engine/recorder.h"
#include "engine/wait.h"
#include "observe/book.h"
#include "observe/chrome.h"
#include "observe/thin.h"
#include "report/report.h"
#include "transport/lifeline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Spans that are kept unless PMAP_TRACE_SPANS says another number: 12 MB of memory, some 20 MB of file. */
#define BOUND 100000
#define BOUND_MIN 16
#define BOUND_MAX 1000000000

/* The fastest of so many is nearly as fast as they get. */
#define PINGS 16

#define BEGIN_PATIENCE (1 * PMAP__S)
#define END_PATIENCE (10 * PMAP__S)

/* Residents of traces are told from those of map-reduces, which count from 1. */
#define NUMBERS (UINT64_C(1) << 62)

/* What is known of another rank; under the trace's lock. */
struct talk {
    bool hailed, gathered, dead, ending;
    bool differs;      /* its clock is another than ours */
    unsigned pings;    /* that are still to come, this time */
    uint64_t asked;    /* when the last question was sent */
    uint64_t letters, expected; /* with spans: that have come, and, once it has gathered, that there are */
};

struct pmap__trace {
    struct pmap__observer observer;
    struct pmap__resident resident;
    struct pmap__tenant *tenant;
    const struct pmap__place *place;
    struct pmap__book *book;
    int base;          /* the pid of rank 0 */
    int ranks;
    uint64_t clock;    /* of the root: see struct pmap__hail */
    atomic_bool over;  /* the pool was abandoned, and that is written: there may be no place and no port any more */
    pthread_mutex_t lock; /* of these: */
    struct talk *talks;   /* by rank */
    struct pmap__trace *next;
};

/* The books of this process, and the traces that are open. */
static struct {
    pthread_mutex_t lock;
    struct pmap__book **books;
    size_t n, room;
    struct pmap__trace *traces;
    atomic_uint_fast64_t numbers;
    pid_t process;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- The file ---- */

/* What is no file, such as a terminal or a pipe, is written to as it is. */
static bool is_special(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && !S_ISREG(about.st_mode);
}

/* The name aside; free it. NULL without memory. */
static char *name_aside(const char *path)
{
    size_t size = strlen(path) + 32;
    char *aside = malloc(size);

    if (aside)
        snprintf(aside, size, "%s.%ld.new", path, (long)getpid());
    return aside;
}

/* Can it be written? Else errno says why. */
static bool is_writable(const char *path)
{
    struct stat about;
    bool there = stat(path, &about) == 0;

    if (there && S_ISDIR(about.st_mode)) {
        errno = EISDIR;
        return false;
    }
    if (there && access(path, W_OK) != 0)
        return false;
    if (there && !S_ISREG(about.st_mode))
        return true;
    char *aside = name_aside(path);
    int file = aside ? open(aside, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : -1, why = errno;
    if (file >= 0) {
        close(file);
        unlink(aside);
    }
    free(aside);
    errno = why;
    return file >= 0;
}

/* Under the book's lock. False, and errno. */
static bool write_to(struct pmap__book *book, const char *path)
{
    FILE *file = fopen(path, "we");

    if (file == NULL)
        return false;
    pmap__chrome_write(book, file);
    bool well = !ferror(file);
    int why = errno;
    if (fclose(file) == 0 && well)
        return true;
    errno = well ? errno : why;
    return false;
}

static bool write_trace(struct pmap__book *book)
{
    if (book->path[0] == '\0')
        return true;
    if (is_special(book->path))
        return write_to(book, book->path);
    char *aside = name_aside(book->path);
    bool well = aside && write_to(book, aside) && rename(aside, book->path) == 0;
    int why = errno;
    if (!well && aside)
        unlink(aside);
    free(aside);
    errno = why;
    return well;
}

/* Of the book as it would be in the file. */
static void write_report(struct pmap__book *book)
{
    struct pmap_error error;
    char *text = NULL;
    size_t size;
    FILE *file = book->report ? open_memstream(&text, &size) : NULL;

    if (book->report == NULL)
        return;
    if (file)
        pmap__chrome_write(book, file);
    if (file == NULL || fclose(file) != 0)
        pmap__warn("there is no memory for a report: %s is not written", book->report);
    else if (pmap__report_write(text, size, book->report, &error) != PMAP_OK)
        pmap__warn("the report %s cannot be written: %s", book->report, strncmp(error.text, "pmap: ", 6) == 0 ? error.text + 6 : error.text);
    free(text);
}

/* Under the book's lock. What cannot be written there is a warning for: the run itself was fine. */
static void write_file(struct pmap__book *book)
{
    if (!write_trace(book))
        pmap__warn("the trace %s cannot be written: %s", book->path, strerror(errno));
}

static void write_book(struct pmap__book *book)
{
    if (book->sealed)
        return;
    write_file(book);
    write_report(book);
}

/* ---- Books ---- */

static enum pmap_status find_bound(const char *call, size_t *bound, struct pmap_error *error)
{
    const char *text = getenv("PMAP_TRACE_SPANS");
    char *end;

    *bound = BOUND;
    if (text == NULL || text[0] == '\0')
        return PMAP_OK;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || value < BOUND_MIN || value > BOUND_MAX)
        return pmap__error_set(error, PMAP_EINVAL, "%s: PMAP_TRACE_SPANS in the environment is \"%s\", not a number from %d to %d", call, text,
                               BOUND_MIN, BOUND_MAX);
    *bound = (size_t)value;
    return PMAP_OK;
}

static bool set_report(struct pmap__book *book, const char *report)
{
    if (report && book->report == NULL)
        book->report = strdup(report);
    return report == NULL || book->report;
}

/* Where a path leads to now: the program may be in another directory when the file is written. "-" and "" lead nowhere. free() it; NULL without
 * memory. */
static char *from_the_top(const char *path)
{
    char *here = path[0] == '/' || path[0] == '\0' || strcmp(path, "-") == 0 ? NULL : getcwd(NULL, 0), *whole = NULL;

    if (here == NULL)
        return strdup(path);
    if (asprintf(&whole, "%s/%s", here, path) < 0)
        whole = NULL;
    free(here);
    return whole;
}

/* Under the lock: the book of this path, which may be a new one, with a report, unless NULL; NULL without memory. */
static struct pmap__book *find_book(const char *path, const char *report, size_t bound)
{
    for (size_t i = 0; i < all.n; i++)
        if (strcmp(all.books[i]->path, path) == 0)
            return set_report(all.books[i], report) ? all.books[i] : NULL;
    if (pmap__grow(&all.books, all.n, &all.room, sizeof *all.books) == NULL)
        return NULL;
    struct pmap__book *book = pmap__book_create(path, bound);
    if (book)
        all.books[all.n++] = book;
    return book && set_report(book, report) ? book : NULL;
}

/* For one pool more; report may be "". NULL without memory. */
static struct pmap__book *open_book(const char *path, const char *report, size_t bound)
{
    char *trace = from_the_top(path), *page = from_the_top(report);
    struct pmap__book *book = NULL;

    pthread_mutex_lock(&all.lock);
    if (trace && page)
        book = find_book(trace, page[0] ? page : NULL, bound);
    if (book)
        book->pools++;
    pthread_mutex_unlock(&all.lock);
    free(trace);
    free(page);
    return book;
}

/* NULL: not set, or empty. */
static const char *from_environment(const char *variable)
{
    const char *value = getenv(variable);

    return value && value[0] ? value : NULL;
}

enum pmap_status pmap__trace_prepare(void *argument, struct pmap_error *error)
{
    struct pmap__trace_wish *wish = argument;
    const char *path = wish->path ? wish->path : from_environment("PMAP_TRACE"), *report = from_environment("PMAP_REPORT");
    size_t bound;

    if (path == NULL && report == NULL)
        return PMAP_OK;
    if (report && !is_writable(report))
        return pmap__error_set(error, PMAP_EINVAL, "%s: PMAP_REPORT in the environment is \"%s\", which cannot be written: %s", wish->call, report,
                               strerror(errno));
    if (path && !is_writable(path))
        return pmap__error_set(error, PMAP_EINVAL, "%s: %s is \"%s\", which cannot be written: %s", wish->call,
                               wish->path ? "trace" : "PMAP_TRACE in the environment", path, strerror(errno));
    if (find_bound(wish->call, &bound, error) != PMAP_OK)
        return error->status;
    wish->book = open_book(path ? path : "", report ? report : "", bound);
    return wish->book ? PMAP_OK : pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for a trace", wish->call);
}

void pmap__trace_drop(struct pmap__trace_wish *wish)
{
    if (wish->book == NULL)
        return;
    pthread_mutex_lock(&all.lock);
    wish->book->pools--;
    pthread_mutex_unlock(&all.lock);
    wish->book = NULL;
}

/* ---- As an observer ---- */

static struct pmap__trace *trace_of(struct pmap__observer *observer)
{
    return (struct pmap__trace *)observer; /* its first member */
}

static uint64_t call_begins(struct pmap__observer *observer, const struct pmap__call_begins *call)
{
    return pmap__book_call_begins(trace_of(observer)->book, call);
}

static uint64_t call_part(struct pmap__observer *observer, uint64_t call, const char *part)
{
    return pmap__book_call_part(trace_of(observer)->book, call, part);
}

static void call_grows(struct pmap__observer *observer, const struct pmap__call_ends *part)
{
    pmap__book_call_grows(trace_of(observer)->book, part);
}

static void call_ends(struct pmap__observer *observer, const struct pmap__call_ends *call)
{
    pmap__book_call_ends(trace_of(observer)->book, call);
}

static void chunk_ends(struct pmap__observer *observer, const struct pmap__chunk_ends *chunk)
{
    pmap__book_chunk(trace_of(observer)->book, trace_of(observer)->base + chunk->rank, chunk);
}

static void phase(struct pmap__observer *observer, const struct pmap__phase *phase)
{
    pmap__book_phase(trace_of(observer)->book, phase);
}

static void spans(struct pmap__observer *observer, int rank, const struct pmap__span *spans, size_t n)
{
    pmap__book_spans(trace_of(observer)->book, trace_of(observer)->base + rank, spans, n);
}

/* A death that ends the run is told to nobody but the launcher: whoever hears of it first, the loop or a lifeline's thread, ends all ranks. Under
 * the book's lock. */
static void note_the_dead(struct pmap__trace *trace)
{
    const struct pmap__port *port = trace->place->post->port;

    for (int rank = 0; port && port->lifeline && rank < trace->ranks; rank++)
        if (pmap__lifeline_is_dead(port->lifeline, rank))
            pmap__book_note_lost(trace->book, trace->base + rank);
}

/* Under the book's lock. */
static void keep(struct pmap__observer *observer, int rank, const struct pmap__span *spans, size_t n)
{
    pmap__book_note_spans(trace_of(observer)->book, trace_of(observer)->base + rank, spans, n);
}

/* Whoever holds a lock may not get to letting it go. */
static bool lock_hastily(struct pmap__book *book)
{
    struct timespec until = pmap__date_in(300 * PMAP__MS);
    return pthread_mutex_timedlock(&book->lock, &until) == 0;
}

/* All that there is, of a pool that has not ended. Elsewhere a thread's place is locked before the book: here nobody waits for a place. Under
 * the book's lock. */
static void salvage(struct pmap__trace *trace)
{
    pmap__recorder_salvage(trace->place->recorder, &trace->observer, keep);
    trace->book->incomplete = true;
    note_the_dead(trace);
}

static void write_unfinished(struct pmap__trace *trace)
{
    if (!lock_hastily(trace->book))
        return;
    salvage(trace);
    write_book(trace->book);
    pthread_mutex_unlock(&trace->book->lock);
}

/* The launcher may kill this process at any moment, and within a second somebody does: the file goes first, and the page, which takes longer than
 * the file if it is of all that is in it, is of less. Nobody writes this book after that. */
static void write_hastily(struct pmap__trace *trace)
{
    struct pmap__book *book = trace->book;

    if (!lock_hastily(book))
        return;
    if (!book->sealed) {
        for (struct pmap__trace *other = all.traces; other; other = other->next)
            if (other->book == book && !atomic_load(&other->over))
                salvage(other);
        write_file(book);
        pmap__thin_out(book);
        write_report(book);
        book->sealed = true;
    }
    pthread_mutex_unlock(&book->lock);
}

static void abandoned(struct pmap__observer *observer)
{
    struct pmap__trace *trace = trace_of(observer);

    write_unfinished(trace);
    atomic_store(&trace->over, true);
}

/* Have all that are open written. Not if one is just being opened or closed. */
static void write_all(void (*write)(struct pmap__trace *trace))
{
    if (all.process != getpid() || pthread_mutex_trylock(&all.lock) != 0)
        return;
    for (struct pmap__trace *trace = all.traces; trace; trace = trace->next)
        if (!atomic_load(&trace->over))
            write(trace);
    pthread_mutex_unlock(&all.lock);
}

static void will(void)
{
    write_all(write_hastily);
}

/* Nobody hurries this. */
static void at_exit(void)
{
    write_all(write_unfinished);
}

static const struct pmap__observer_ops ops = {call_begins, call_part, call_grows, call_ends, chunk_ends, phase, spans, abandoned};

/* ---- Letters ---- */

/* Under the lock. Without memory the answer will be missed, and something of the trace with it. */
static void ask(struct pmap__trace *trace, int rank, enum pmap__record_letter what)
{
    struct pmap__letter *letter = malloc(sizeof *letter);

    if (letter == NULL)
        return;
    trace->talks[rank].asked = pmap__now();
    *letter = (struct pmap__letter){.rank = rank, .number = PMAP__RECORDERS, .words = {(uint64_t)what << 32, trace->observer.number}};
    pmap__post_send(trace->place->post, letter);
}

/* The next question of this time, if there is one. Under the lock. */
static void go_on(struct pmap__trace *trace, int rank)
{
    struct talk *talk = &trace->talks[rank];

    if (talk->pings)
        ask(trace, rank, PMAP__PING);
    else if (talk->ending)
        ask(trace, rank, PMAP__GATHER);
}

/* n spans as bytes; false if they make no sense. */
static bool read_spans(struct pmap__trace *trace, int rank, const unsigned char *bytes, size_t size)
{
    struct pmap__span some[64];
    size_t n = 0;

    if (size % PMAP__SPAN_SIZE)
        return false;
    for (size_t at = 0; at < size; at += PMAP__SPAN_SIZE) {
        if (pmap__span_decode(bytes + at, &some[n]) != NULL)
            return false;
        if (++n == sizeof some / sizeof some[0] || at + PMAP__SPAN_SIZE == size) {
            spans(&trace->observer, rank, some, n);
            n = 0;
        }
    }
    return true;
}

static bool read_hail(struct pmap__trace *trace, int rank, const unsigned char *body, size_t size)
{
    struct pmap__hail hail;

    if (size < sizeof hail)
        return false;
    memcpy(&hail, body, sizeof hail);
    hail.host[sizeof hail.host - 1] = '\0';
    trace->talks[rank].differs = hail.clock != trace->clock;
    trace->talks[rank].hailed = true;
    if (hail.threads < 0 || hail.threads > 1 << 16)
        return false;
    pmap__book_rank(trace->book, trace->base + rank, hail.host, (int)hail.threads, trace->talks[rank].differs);
    return read_spans(trace, rank, body + sizeof hail, size - sizeof hail);
}

static void heard_ping(struct pmap__trace *trace, int rank, uint64_t there)
{
    struct talk *talk = &trace->talks[rank];
    struct pmap__ping ping = {.sent = talk->asked, .there = there, .back = pmap__now()};

    pmap__book_ping(trace->book, trace->base + rank, &ping, talk->ending);
    if (talk->pings)
        talk->pings--;
    go_on(trace, rank);
}

/* Under the lock. False: it makes no sense. */
static bool read_letter(struct pmap__trace *trace, const struct pmap__letter *letter)
{
    struct talk *talk = &trace->talks[letter->rank];

    switch (letter->words[0] >> 32) {
    case PMAP__HAIL:
        if (!read_hail(trace, letter->rank, letter->body, letter->size))
            return false;
        talk->pings = talk->differs && !talk->ending ? PINGS : 0;
        if (talk->pings)
            go_on(trace, letter->rank);
        return true;
    case PMAP__PING:
        heard_ping(trace, letter->rank, letter->words[1]);
        return true;
    case PMAP__SPANS:
        talk->letters++;
        return read_spans(trace, letter->rank, letter->body, letter->size);
    case PMAP__GATHER:
        talk->gathered = true;
        talk->expected = letter->words[0] & UINT32_MAX;
        return true;
    default:
        return false;
    }
}

static void miss(struct pmap__trace *trace)
{
    pthread_mutex_lock(&trace->book->lock);
    trace->book->incomplete = true;
    pthread_mutex_unlock(&trace->book->lock);
}

static struct pmap__trace *trace_at(struct pmap__resident *resident)
{
    return (struct pmap__trace *)((char *)resident - offsetof(struct pmap__trace, resident));
}

static void arrived(struct pmap__resident *resident, struct pmap__letter *letter)
{
    struct pmap__trace *trace = trace_at(resident);

    pthread_mutex_lock(&trace->lock);
    bool well = (letter->body != NULL || letter->size == 0) && read_letter(trace, letter);
    pthread_mutex_unlock(&trace->lock);
    if (!well)
        miss(trace);
    pmap__letter_free(letter);
    pmap__wait_over();
}

static void lost(struct pmap__resident *resident, int rank)
{
    struct pmap__trace *trace = trace_at(resident);

    pthread_mutex_lock(&trace->lock);
    trace->talks[rank].dead = true;
    pthread_mutex_unlock(&trace->lock);
    pmap__book_lose(trace->book, trace->base + rank);
    pmap__wait_over();
}

static void evicted(struct pmap__resident *resident)
{
    (void)resident;
}

static bool has_begun(const struct talk *talk)
{
    return talk->hailed && talk->pings == 0;
}

static bool has_ended(const struct talk *talk)
{
    return talk->gathered && talk->letters >= talk->expected;
}

static bool all_are(struct pmap__trace *trace, bool (*so)(const struct talk *))
{
    bool they_are = true;

    pthread_mutex_lock(&trace->lock);
    for (int rank = 0; rank < trace->ranks; rank++)
        they_are = they_are && (rank == trace->place->rank || trace->talks[rank].dead || so(&trace->talks[rank]));
    pthread_mutex_unlock(&trace->lock);
    return they_are;
}

static bool all_have_begun(const void *trace)
{
    return all_are((struct pmap__trace *)(uintptr_t)trace, has_begun);
}

static bool all_have_ended(const void *trace)
{
    return all_are((struct pmap__trace *)(uintptr_t)trace, has_ended);
}

/* Ask all other ranks the first question of this time, and wait for what comes of it. */
static bool converse(struct pmap__trace *trace, bool ending)
{
    if (trace->ranks < 2)
        return true;
    pmap__tenant_hold(trace->tenant); /* so that the loop goes on looking */
    pthread_mutex_lock(&trace->lock);
    for (int rank = 0; rank < trace->ranks; rank++) {
        struct talk *talk = &trace->talks[rank];
        if (rank == trace->place->rank || talk->dead)
            continue;
        talk->ending = ending;
        talk->pings = ending && talk->differs ? PINGS : 0;
        if (ending)
            go_on(trace, rank);
        else
            ask(trace, rank, PMAP__HAIL);
    }
    pthread_mutex_unlock(&trace->lock);
    uint64_t deadline = pmap__now() + (ending ? END_PATIENCE : BEGIN_PATIENCE);
    bool well = pmap__wait(ending ? all_have_ended : all_have_begun, trace, deadline);
    pmap__tenant_release(trace->tenant);
    return well;
}

/* ---- Life ---- */

static struct pmap__trace *trace_create(struct pmap__book *book, struct pmap__tenant *tenant)
{
    struct pmap__trace *trace = calloc(1, sizeof *trace);
    int ranks = pmap__root_ranks(tenant->root);

    if (trace == NULL)
        return NULL;
    trace->talks = calloc((size_t)ranks, sizeof *trace->talks);
    trace->base = pmap__book_pool(book, ranks);
    trace->place = pmap__root_place(tenant->root);
    if (trace->talks == NULL || trace->base < 0 || trace->place->recorder == NULL) {
        free(trace->talks);
        free(trace);
        return NULL;
    }
    trace->ranks = ranks;
    trace->tenant = tenant;
    trace->book = book;
    pthread_mutex_init(&trace->lock, NULL); /* glibc's cannot fail */
    trace->observer = (struct pmap__observer){.ops = &ops, .number = NUMBERS + atomic_fetch_add(&all.numbers, 1) + 1, .chunks = &book->chunks};
    trace->resident = (struct pmap__resident){.number = trace->observer.number, .arrived = arrived, .lost = lost, .evicted = evicted};
    return trace;
}

static void list(struct pmap__trace *trace)
{
    pthread_mutex_lock(&all.lock);
    if (all.process == 0)
        atexit(at_exit);
    all.process = getpid();
    pmap__will_make(will);
    trace->next = all.traces;
    all.traces = trace;
    pthread_mutex_unlock(&all.lock);
}

static void unlist(struct pmap__trace *trace)
{
    pthread_mutex_lock(&all.lock);
    struct pmap__trace **at = &all.traces;
    while (*at != trace)
        at = &(*at)->next;
    *at = trace->next;
    trace->book->pools--;
    pthread_mutex_unlock(&all.lock);
}

static void introduce_root(struct pmap__trace *trace)
{
    struct pmap__hail hail;
    struct pmap__span some[64];

    pmap__recorder_hail(trace->place->recorder, &hail);
    trace->clock = hail.clock;
    pmap__book_rank(trace->book, trace->base + trace->place->rank, hail.host, (int)hail.threads, false);
    size_t n = pmap__recorder_begun(trace->place->recorder, some, sizeof some / sizeof some[0]);
    spans(&trace->observer, trace->place->rank, some, n);
}

void pmap__trace_begin(struct pmap__trace_wish *wish, struct pmap__tenant *tenant, struct pmap__trace **trace)
{
    struct pmap__trace *t = wish->book ? trace_create(wish->book, tenant) : NULL;

    *trace = NULL;
    if (t == NULL && wish->book)
        pmap__warn("there is no memory for a trace: %s will not be written", wish->book->path[0] ? wish->book->path : wish->book->report);
    if (t == NULL) {
        pmap__trace_drop(wish);
        return;
    }
    wish->book = NULL;
    introduce_root(t);
    list(t);
    pmap__post_enter(t->place->post, &t->resident);
    converse(t, false);
    tenant->observer = &t->observer;
    *trace = t;
}

void pmap__trace_end(struct pmap__trace *trace)
{
    if (trace == NULL)
        return;
    pmap__recorder_gather(trace->place->recorder);
    if (!converse(trace, true))
        miss(trace);
    trace->tenant->observer = NULL;
    pmap__post_leave(trace->place->post, &trace->resident);
    pthread_mutex_lock(&trace->book->lock);
    write_book(trace->book);
    pthread_mutex_unlock(&trace->book->lock);
    unlist(trace);
    pthread_mutex_destroy(&trace->lock);
    free(trace->talks);
    free(trace);
}
