/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * An existing file is opened in steps, each of which leaves it alone if it is not ours: what kind of file it is (stat), whether
 * its header says SQLite and pmap (a plain read), the lock, its tables, whose it is, whether its pages make sense; then whoever
 * opens it looks at the rows, and only then is anything written: a row for this run. A new one is made in a single transaction
 * with a rollback journal, so that a process killed in the middle of it leaves an empty file behind, which the next one takes for
 * new; write-ahead mode comes after.
 */
#include "journal/ledger.h"

#include "base/error.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define APPLICATION 0x706d6170 /* "pmap" */
#define FORMAT 1               /* of the tables, and of everything that a key is made of */
#define CHECKED ((sqlite3_int64)1 << 30) /* bytes of a file that is looked at as a whole */
#define GRACE 1000             /* ms that somebody else may still have the file: a former run that is just dying */

static const char *const tables[] = {
    "CREATE TABLE program(tasks TEXT, version TEXT)",
    "CREATE TABLE run(id INTEGER PRIMARY KEY, started REAL, host TEXT, process INTEGER, pmap TEXT)",
    "CREATE TABLE call(id INTEGER PRIMARY KEY, name TEXT, task TEXT, signature TEXT, operation TEXT)",
    "CREATE TABLE item(id INTEGER PRIMARY KEY, run INTEGER, call INTEGER, item INTEGER, rank INTEGER, time REAL, "
    "hash BLOB, occurrence INTEGER, sum INTEGER, result BLOB)",
    "CREATE VIEW result AS SELECT call.name AS call, call.task AS task, item.item AS item, item.rank AS rank, "
    "datetime(item.time, 'unixepoch') AS time, length(item.result) AS size, item.result AS result "
    "FROM item JOIN call ON call.id = item.call",
};

enum { TABLES = sizeof tables / sizeof *tables };

enum statement { BEGIN, COMMIT, PUT_CALL, PUT, READ, STATEMENTS };

static const char *const texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [PUT_CALL] = "INSERT INTO call(id, name, task, signature, operation) VALUES(?, ?, ?, ?, ?)",
    [PUT] = "INSERT INTO item(run, call, item, rank, time, hash, occurrence, sum, result) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [READ] = "SELECT hash, occurrence, sum, result FROM item WHERE id = ?",
};

struct pmap__ledger {
    sqlite3 *db;
    char *path;
    bool fresh;        /* it was made just now */
    sqlite3_int64 run; /* the row of this run */
    sqlite3_stmt *statements[STATEMENTS];
};

double pmap__ledger_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- What goes wrong ---- */

static enum pmap_status refuse(struct pmap_error *error, const char *path, const char *why)
{
    return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal %s: %s", path, why);
}

/* What SQLite's last failure was, in words that say what it means for a journal. */
static enum pmap_status failed(struct pmap__ledger *s, struct pmap_error *error)
{
    static const struct {
        int code;
        const char *words;
    } meanings[] = {
        {SQLITE_BUSY, "another process uses it"},       {SQLITE_LOCKED, "another process uses it"},
        {SQLITE_READONLY, "it cannot be written to"},   {SQLITE_PERM, "it cannot be written to"},
        {SQLITE_CANTOPEN, "it cannot be opened"},       {SQLITE_FULL, "the disk is full"},
        {SQLITE_IOERR, "it cannot be read or written"}, {SQLITE_CORRUPT, "it is damaged"},
        {SQLITE_NOTADB, "it is damaged"},
    };
    int code = sqlite3_errcode(s->db) & 0xff, cause = sqlite3_system_errno(s->db);
    const char *words = "SQLite cannot use it";

    if (code == SQLITE_NOMEM)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: journal %s: no memory", s->path);
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].code == code)
            words = meanings[i].words;
    bool system = cause && (code == SQLITE_CANTOPEN || code == SQLITE_IOERR || code == SQLITE_FULL);
    return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal %s: %s (SQLite: %s%s%s)", s->path, words, sqlite3_errmsg(s->db),
                           system ? ", " : "", system ? strerror(cause) : "");
}

static enum pmap_status damaged(const struct pmap__ledger *s, const char *what, struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal %s: it is damaged (%s)", s->path, what);
}

/* ---- Statements ---- */

static enum pmap_status run(struct pmap__ledger *s, const char *sql, struct pmap_error *error)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? PMAP_OK : failed(s, error);
}

static enum pmap_status prepare(struct pmap__ledger *s, const char *sql, sqlite3_stmt **statement, struct pmap_error *error)
{
    return sqlite3_prepare_v2(s->db, sql, -1, statement, NULL) == SQLITE_OK ? PMAP_OK : failed(s, error);
}

/* The only value that a statement yields, as a number. */
static enum pmap_status number_of(struct pmap__ledger *s, const char *sql, sqlite3_int64 *number, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    enum pmap_status status = prepare(s, sql, &statement, error);

    if (status == PMAP_OK && sqlite3_step(statement) != SQLITE_ROW)
        status = failed(s, error);
    if (status == PMAP_OK)
        *number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

/* A statement whose parameters are bound, to its end. */
static enum pmap_status finish(struct pmap__ledger *s, sqlite3_stmt *statement, struct pmap_error *error)
{
    enum pmap_status status = sqlite3_step(statement) == SQLITE_DONE ? PMAP_OK : failed(s, error);
    sqlite3_reset(statement);
    return status;
}

/* ---- What kind of file it is ---- */

enum pmap_status pmap__ledger_look(const char *path, dev_t *device, ino_t *inode, struct pmap_error *error)
{
    struct stat st;

    *device = 0;
    *inode = 0;
    if (stat(path, &st) != 0)
        return errno == ENOENT ? PMAP_OK : refuse(error, path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(error, path, S_ISDIR(st.st_mode) ? "it is a directory" : "it is no ordinary file");
    if ((st.st_mode & 0222) == 0 || access(path, W_OK) != 0)
        return refuse(error, path, "it is read-only");
    *device = st.st_dev;
    *inode = st.st_ino;
    return PMAP_OK;
}

/* A number in the header of an SQLite file. */
static uint32_t big_endian(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Before SQLite opens it: it would tidy up other people's files, too. */
static enum pmap_status look_at_header(const char *path, struct pmap_error *error)
{
    unsigned char header[100] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? PMAP_OK : refuse(error, path, strerror(errno));
    ssize_t n = pread(fd, header, sizeof header, 0);
    int cause = errno;
    close(fd);
    if (n < 0)
        return refuse(error, path, strerror(cause));
    if (n == 0)
        return PMAP_OK;
    if (n < (ssize_t)sizeof header || memcmp(header, "SQLite format 3", 16) != 0)
        return refuse(error, path, "it is no journal of pmap's, or damaged: it does not begin as one");
    if (big_endian(header + 68) != APPLICATION)
        return refuse(error, path, "it is no journal of pmap's, but another program's SQLite database");
    if (big_endian(header + 60) != FORMAT)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal %s: it has format %u, but this version of pmap knows format %d",
                               path, (unsigned)big_endian(header + 60), FORMAT);
    return PMAP_OK;
}

/* ---- Making one ---- */

static const char *word_of(const struct pmap__program *program)
{
    return program->version ? program->version : "";
}

static void tasks_of(const struct pmap__program *program, char text[static 17])
{
    snprintf(text, 17, "%016" PRIx64, program->tasks);
}

static enum pmap_status put_program(struct pmap__ledger *s, const struct pmap__program *program, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    char tasks[17];
    enum pmap_status status = prepare(s, "INSERT INTO program VALUES(?, ?)", &statement, error);

    tasks_of(program, tasks);
    if (status == PMAP_OK) {
        sqlite3_bind_text(statement, 1, tasks, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, word_of(program), -1, SQLITE_STATIC);
        status = finish(s, statement, error);
    }
    sqlite3_finalize(statement);
    return status;
}

static enum pmap_status make(struct pmap__ledger *s, const struct pmap__program *program, struct pmap_error *error)
{
    char numbers[100];
    enum pmap_status status = PMAP_OK;

    snprintf(numbers, sizeof numbers, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION, FORMAT);
    for (int i = 0; i < TABLES && status == PMAP_OK; i++)
        status = run(s, tables[i], error);
    if (status == PMAP_OK)
        status = put_program(s, program, error);
    return status == PMAP_OK ? run(s, numbers, error) : status;
}

/* ---- Checking one ---- */

/* They are ours to the letter, and there are no others: no trigger, for one, that does things of its own when we write. */
static enum pmap_status check_tables(struct pmap__ledger *s, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    sqlite3_int64 n = 0;
    int known = 0;
    enum pmap_status status = number_of(s, "SELECT count(*) FROM sqlite_schema", &n, error);

    if (status == PMAP_OK)
        status = prepare(s, "SELECT count(*) FROM sqlite_schema WHERE sql = ?", &statement, error);
    for (int i = 0; i < TABLES && status == PMAP_OK; i++) {
        sqlite3_bind_text(statement, 1, tables[i], -1, SQLITE_STATIC);
        if (sqlite3_step(statement) != SQLITE_ROW)
            status = failed(s, error);
        else
            known += sqlite3_column_int(statement, 0);
        sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    if (status == PMAP_OK && (n != TABLES || known != TABLES))
        return damaged(s, "its tables are not those of a journal", error);
    return status;
}

static bool is_text(sqlite3_stmt *statement, int column, const char *text)
{
    const char *there = (const char *)sqlite3_column_text(statement, column);
    return there && strcmp(there, text) == 0;
}

static enum pmap_status compare_program(struct pmap__ledger *s, sqlite3_stmt *statement, const struct pmap__program *program,
                                        struct pmap_error *error)
{
    const char *version = (const char *)sqlite3_column_text(statement, 1);
    char tasks[17];

    tasks_of(program, tasks);
    if (version == NULL)
        return damaged(s, "it does not say whose it is", error);
    if (strcmp(version, word_of(program)) != 0)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal %s: it is of another version of this program: of \"%.100s\", "
                               "but this is \"%.100s\"", s->path, version, word_of(program));
    if (!is_text(statement, 0, tasks))
        return refuse(error, s->path, "it is of another version of this program, with other tasks or operations, or types of them");
    return PMAP_OK;
}

static enum pmap_status check_program(struct pmap__ledger *s, const struct pmap__program *program, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    enum pmap_status status = prepare(s, "SELECT tasks, version FROM program", &statement, error);

    if (status == PMAP_OK) {
        int got = sqlite3_step(statement);
        if (got == SQLITE_ROW)
            status = compare_program(s, statement, program, error);
        else
            status = got == SQLITE_DONE ? damaged(s, "it does not say whose it is", error) : failed(s, error);
    }
    sqlite3_finalize(statement);
    return status;
}

static enum pmap_status check_pages(struct pmap__ledger *s, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    enum pmap_status status = prepare(s, "PRAGMA quick_check(1)", &statement, error);

    if (status == PMAP_OK && sqlite3_step(statement) != SQLITE_ROW)
        status = failed(s, error);
    if (status == PMAP_OK && !is_text(statement, 0, "ok")) {
        const char *what = (const char *)sqlite3_column_text(statement, 0);
        char words[200];
        snprintf(words, sizeof words, "SQLite: %s", what ? what : "it does not say how");
        for (char *at = words; *at; at++)
            *at = *at == '\n' ? ' ' : *at;
        status = damaged(s, words, error);
    }
    sqlite3_finalize(statement);
    return status;
}

/* Looking at all pages of a file takes as long as reading all of it, a second for each gigabyte or far more: so only small files are. In a large one what
 * is damaged is found when it is used: SQLite looks at each page that it follows, and each result has a sum. */
static enum pmap_status check_size(struct pmap__ledger *s, bool *small, struct pmap_error *error)
{
    sqlite3_int64 pages = 0, size = 0;
    enum pmap_status status = number_of(s, "PRAGMA page_count", &pages, error);

    if (status == PMAP_OK)
        status = number_of(s, "PRAGMA page_size", &size, error);
    *small = status == PMAP_OK && pages <= CHECKED / (size > 0 ? size : 1);
    return status;
}

/* ---- Opening ---- */

static enum pmap_status connect(struct pmap__ledger *s, struct pmap_error *error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

    int opened = sqlite3_open_v2(s->path, &s->db, flags, NULL);
    if (s->db == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: journal %s: no memory", s->path);
    if (opened != SQLITE_OK)
        return failed(s, error);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, GRACE);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* until it is known to be ours */
    return run(s, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", error);
}

/* Under the lock that BEGIN EXCLUSIVE takes, and the connection keeps. */
static enum pmap_status make_or_check(struct pmap__ledger *s, const struct pmap__program *program, struct pmap_error *error)
{
    sqlite3_int64 objects = 0, application = 0;
    enum pmap_status status = number_of(s, "SELECT count(*) FROM sqlite_schema", &objects, error);

    if (status == PMAP_OK)
        status = number_of(s, "PRAGMA application_id", &application, error);
    if (status != PMAP_OK)
        return status;
    s->fresh = objects == 0 && application == 0;
    if (s->fresh)
        return make(s, program, error);
    status = check_tables(s, error);
    return status == PMAP_OK ? check_program(s, program, error) : status;
}

static enum pmap_status take_over(struct pmap__ledger *s, const struct pmap__program *program, struct pmap_error *error)
{
    enum pmap_status status = run(s, "BEGIN EXCLUSIVE", error);

    if (status != PMAP_OK)
        return status;
    status = make_or_check(s, program, error);
    if (status == PMAP_OK)
        status = run(s, "COMMIT", error);
    if (status != PMAP_OK)
        pmap__ledger_rollback(s);
    return status;
}

static enum pmap_status prepare_all(struct pmap__ledger *s, struct pmap_error *error)
{
    enum pmap_status status = PMAP_OK;

    for (int i = 0; i < STATEMENTS && status == PMAP_OK; i++)
        status = prepare(s, texts[i], &s->statements[i], error);
    return status;
}

/* The first thing that is written: if nothing can be, it is known before anything has been computed. */
static enum pmap_status put_run(struct pmap__ledger *s, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    char host[64] = "";
    enum pmap_status status = prepare(s, "INSERT INTO run(started, host, process, pmap) VALUES(?, ?, ?, ?)", &statement, error);

    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    if (status == PMAP_OK) {
        sqlite3_bind_double(statement, 1, pmap__ledger_time());
        sqlite3_bind_text(statement, 2, host, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 3, getpid());
        sqlite3_bind_text(statement, 4, PMAP_VERSION, -1, SQLITE_STATIC);
        status = finish(s, statement, error);
        s->run = sqlite3_last_insert_rowid(s->db);
    }
    sqlite3_finalize(statement);
    return status;
}

/* A path that SQLite takes for one, whatever it is. */
static char *plain(const char *path)
{
    const char *front = path[0] == '/' ? "" : "./";
    size_t size = strlen(front) + strlen(path) + 1;
    char *made = malloc(size);

    if (made)
        snprintf(made, size, "%s%s", front, path);
    return made;
}

static enum pmap_status open_it(struct pmap__ledger *s, const struct pmap__program *program, struct pmap_error *error)
{
    enum pmap_status status = connect(s, error);
    bool small = false;

    if (status == PMAP_OK)
        status = take_over(s, program, error);
    if (status == PMAP_OK && !s->fresh)
        status = check_size(s, &small, error);
    if (status == PMAP_OK && small)
        status = check_pages(s, error);
    if (status == PMAP_OK)
        status = run(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", error);
    return status == PMAP_OK ? prepare_all(s, error) : status;
}

enum pmap_status pmap__ledger_open(struct pmap__ledger **ledger, const char *path, const struct pmap__program *program,
                                   struct pmap_error *error)
{
    enum pmap_status status = look_at_header(path, error);

    if (status != PMAP_OK)
        return status;
    struct pmap__ledger *s = calloc(1, sizeof *s);
    if (s == NULL || (s->path = plain(path)) == NULL) {
        free(s);
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: journal %s: no memory", path);
    }
    status = open_it(s, program, error);
    if (status != PMAP_OK) {
        pmap__ledger_close(s);
        return status;
    }
    *ledger = s;
    return PMAP_OK;
}

enum pmap_status pmap__ledger_enter(struct pmap__ledger *s, struct pmap_error *error)
{
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return put_run(s, error);
}

uint64_t pmap__ledger_run(const struct pmap__ledger *s)
{
    return (uint64_t)s->run;
}

enum pmap_status pmap__ledger_identity(struct pmap__ledger *s, uint64_t *identity, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    enum pmap_status status = prepare(s, "SELECT started, process, host FROM run ORDER BY id LIMIT 1", &statement, error);

    if (status == PMAP_OK && sqlite3_step(statement) != SQLITE_ROW)
        status = failed(s, error);
    if (status == PMAP_OK) {
        double started = sqlite3_column_double(statement, 0);
        sqlite3_int64 process = sqlite3_column_int64(statement, 1);
        const char *host = (const char *)sqlite3_column_text(statement, 2);
        *identity = pmap__hash(PMAP__HASH_BEGIN, &started, sizeof started);
        *identity = pmap__hash(*identity, &process, sizeof process);
        *identity = pmap__hash(*identity, host ? host : "", host ? strlen(host) : 0);
    }
    sqlite3_finalize(statement);
    return status;
}

void pmap__ledger_close(struct pmap__ledger *s)
{
    if (s == NULL)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    free(s->path);
    free(s);
}

/* ---- Writing ---- */

enum pmap_status pmap__ledger_begin(struct pmap__ledger *s, struct pmap_error *error)
{
    sqlite3_reset(s->statements[READ]); /* what was read last is borrowed no more */
    return finish(s, s->statements[BEGIN], error);
}

enum pmap_status pmap__ledger_commit(struct pmap__ledger *s, struct pmap_error *error)
{
    return finish(s, s->statements[COMMIT], error);
}

void pmap__ledger_rollback(struct pmap__ledger *s)
{
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

enum pmap_status pmap__ledger_put_call(struct pmap__ledger *s, uint64_t number, const struct pmap__journal_call *call,
                                       struct pmap_error *error)
{
    sqlite3_stmt *put = s->statements[PUT_CALL];

    sqlite3_bind_int64(put, 1, (sqlite3_int64)number);
    sqlite3_bind_text(put, 2, call->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(put, 3, call->task, -1, SQLITE_STATIC);
    sqlite3_bind_text(put, 4, call->signature, -1, SQLITE_STATIC);
    sqlite3_bind_text(put, 5, call->op ? call->op : "", -1, SQLITE_STATIC);
    return finish(s, put, error);
}

/* 16 bytes that read as one hexadecimal number. */
static void write_hash(const struct pmap__journal_key *key, unsigned char hash[static 16])
{
    for (int i = 0; i < 8; i++) {
        hash[i] = (unsigned char)(key->high >> (56 - 8 * i));
        hash[8 + i] = (unsigned char)(key->low >> (56 - 8 * i));
    }
}

enum pmap_status pmap__ledger_put(struct pmap__ledger *s, const struct pmap__row *row, struct pmap_error *error)
{
    sqlite3_stmt *put = s->statements[PUT];
    unsigned char hash[16];

    write_hash(&row->key, hash);
    sqlite3_bind_int64(put, 1, s->run);
    sqlite3_bind_int64(put, 2, (sqlite3_int64)row->call);
    sqlite3_bind_int64(put, 3, (sqlite3_int64)row->item);
    sqlite3_bind_int(put, 4, row->rank);
    sqlite3_bind_double(put, 5, row->time);
    sqlite3_bind_blob(put, 6, hash, sizeof hash, SQLITE_STATIC);
    sqlite3_bind_int64(put, 7, (sqlite3_int64)row->key.occurrence);
    sqlite3_bind_int64(put, 8, (sqlite3_int64)pmap__journal_sum(&row->key, row->result, row->size));
    sqlite3_bind_blob64(put, 9, row->size ? row->result : "", row->size, SQLITE_STATIC);
    return finish(s, put, error);
}

size_t pmap__ledger_most(const struct pmap__ledger *s)
{
    return (size_t)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, -1) - 1024; /* of a row, the rest of it included */
}

/* ---- Reading ---- */

static bool read_key(sqlite3_stmt *statement, int hash, int occurrence, struct pmap__journal_key *key)
{
    const unsigned char *bytes = sqlite3_column_blob(statement, hash);

    if (bytes == NULL || sqlite3_column_bytes(statement, hash) != 16 ||
        sqlite3_column_type(statement, occurrence) != SQLITE_INTEGER)
        return false;
    *key = (struct pmap__journal_key){.occurrence = (uint64_t)sqlite3_column_int64(statement, occurrence)};
    for (int i = 0; i < 8; i++) {
        key->high = key->high << 8 | bytes[i];
        key->low = key->low << 8 | bytes[8 + i];
    }
    return true;
}

static bool read_call(sqlite3_stmt *statement, struct pmap__journal_call *call)
{
    *call = (struct pmap__journal_call){.name = (const char *)sqlite3_column_text(statement, 1),
                                        .task = (const char *)sqlite3_column_text(statement, 2),
                                        .signature = (const char *)sqlite3_column_text(statement, 3),
                                        .op = (const char *)sqlite3_column_text(statement, 4)};
    return sqlite3_column_int64(statement, 0) > 0 && call->name && call->task && call->signature && call->op;
}

/* How a loop over rows has ended. */
static enum pmap_status verdict(struct pmap__ledger *s, int got, bool sound, bool taken, const char *what, struct pmap_error *error)
{
    if (!sound)
        return damaged(s, what, error);
    if (!taken)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: journal %s: no memory for what is in it", s->path);
    return got == SQLITE_DONE ? PMAP_OK : failed(s, error);
}

enum pmap_status pmap__ledger_calls(struct pmap__ledger *s, pmap__ledger_call_fn *take, void *owner, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    struct pmap__journal_call call;
    bool sound = true, taken = true;
    int got = SQLITE_ROW;
    enum pmap_status status = prepare(s, "SELECT id, name, task, signature, operation FROM call ORDER BY id", &statement, error);

    if (status != PMAP_OK)
        return status;
    while (sound && taken && (got = sqlite3_step(statement)) == SQLITE_ROW) {
        sound = read_call(statement, &call);
        taken = sound && take(owner, (uint64_t)sqlite3_column_int64(statement, 0), &call);
    }
    status = verdict(s, got, sound, taken, "a call in it makes no sense", error);
    sqlite3_finalize(statement);
    return status;
}

enum pmap_status pmap__ledger_keys(struct pmap__ledger *s, pmap__ledger_key_fn *take, void *owner, struct pmap_error *error)
{
    sqlite3_stmt *statement = NULL;
    struct pmap__journal_key key;
    bool sound = true, taken = true;
    int got = SQLITE_ROW;
    enum pmap_status status = prepare(s, "SELECT id, hash, occurrence FROM item", &statement, error);

    if (status != PMAP_OK)
        return status;
    while (sound && taken && (got = sqlite3_step(statement)) == SQLITE_ROW) {
        sound = read_key(statement, 1, 2, &key) && sqlite3_column_int64(statement, 0) > 0;
        taken = sound && take(owner, (uint64_t)sqlite3_column_int64(statement, 0), &key);
    }
    status = verdict(s, got, sound, taken, "the hash of an item in it makes no sense", error);
    sqlite3_finalize(statement);
    return status;
}

enum pmap_status pmap__ledger_read(struct pmap__ledger *s, uint64_t row, const struct pmap__journal_key *key, bool *found,
                                   const void **result, size_t *size, struct pmap_error *error)
{
    sqlite3_stmt *statement = s->statements[READ];
    struct pmap__journal_key there;
    char what[64];

    snprintf(what, sizeof what, "row %" PRIu64 " of item", row);
    sqlite3_reset(statement);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)row);
    int got = sqlite3_step(statement);
    if (got != SQLITE_ROW)
        return got == SQLITE_DONE ? damaged(s, what, error) : failed(s, error);
    if (!read_key(statement, 0, 1, &there))
        return damaged(s, what, error);
    *found = there.high == key->high && there.low == key->low && there.occurrence == key->occurrence;
    if (!*found)
        return PMAP_OK;
    *result = sqlite3_column_blob(statement, 3);
    *size = (size_t)sqlite3_column_bytes(statement, 3);
    if (*size && *result == NULL)
        return failed(s, error);
    if (sqlite3_column_int64(statement, 2) != (sqlite3_int64)pmap__journal_sum(key, *result, *size))
        return damaged(s, what, error);
    return PMAP_OK;
}
