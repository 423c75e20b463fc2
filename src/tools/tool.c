/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/tool.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The options of all programs ---- */

static const struct tool *the_tool; /* a process is one program; set by tool_main */
static struct {
    const char *output, *scratch;
    size_t threads, memory, partitions, split_size, retries;
    bool verbose, help, version;
} common;                           /* what was chosen; set before the pool is there */

static const struct tool_option common_options[] = {
    {"output", 'o', TOOL_TEXT, &common.output, "FILE", "write there, not to standard output; FILE/: a directory of parts", 0, 0},
    {"threads", 0, TOOL_COUNT, &common.threads, "N", "threads on each rank (its share of the CPUs)", 1, 65536},
    {"memory", 0, TOOL_SIZE, &common.memory, "SIZE", "hold so many bytes on a rank, in scratch what is more (half of its share)", 0, 0},
    {"scratch", 0, TOOL_TEXT, &common.scratch, "DIR", "directory for what does not fit ($TMPDIR, or /tmp)", 0, 0},
    {"partitions", 0, TOOL_COUNT, &common.partitions, "N", "cut the output into so many parts (64)", 1, 1e6},
    {"split-size", 0, TOOL_SIZE, &common.split_size, "SIZE", "bytes of input that a thread takes at once (4M, or less)", 0, 0},
    {"retries", 0, TOOL_COUNT, &common.retries, "N", "run what failed again so often (0)", 0, INT_MAX},
    {"verbose", 0, TOOL_FLAG, &common.verbose, NULL, "tell on stderr how it went", 0, 0},
    {"help", 0, TOOL_FLAG, &common.help, NULL, "print this", 0, 0},
    {"version", 0, TOOL_FLAG, &common.version, NULL, "print the version", 0, 0},
    {NULL, 0, TOOL_FLAG, NULL, NULL, NULL, 0, 0},
};

bool tool_verbose(void)
{
    return common.verbose;
}

/* ---- Complaints ---- */

static char wrong[300]; /* with the arguments; "": nothing. Found on all ranks, said by the root */

int tool_fail(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", the_tool->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return the_tool->failure;
}

/* ---- Values ---- */

static bool parse_whole(const char *text, uint64_t *number, const char **rest)
{
    char *end;

    if (text[0] < '0' || text[0] > '9') /* not even a blank, or a sign */
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    *rest = end;
    return errno == 0;
}

static bool parse_count(const struct tool_option *o, const char *text)
{
    const char *rest;
    uint64_t number;

    if (!parse_whole(text, &number, &rest) || *rest || (double)number < o->low || (double)number > o->high)
        return false;
    *(size_t *)o->to = (size_t)number;
    return true;
}

static bool parse_size(const struct tool_option *o, const char *text)
{
    static const char units[] = "kKmMgGtT";
    const char *rest, *unit;
    uint64_t number;

    if (!parse_whole(text, &number, &rest) || number == 0)
        return false;
    int shift = *rest && (unit = strchr(units, *rest)) ? 10 * (1 + (int)(unit - units) / 2) : 0;
    if (rest[shift > 0] || number > SIZE_MAX >> shift)
        return false;
    *(size_t *)o->to = (size_t)number << shift;
    return true;
}

static bool parse_real(const struct tool_option *o, const char *text)
{
    char *end;
    double number = strtod(text, &end);

    if (end == text || *end || !(number >= o->low && number <= o->high))
        return false;
    *(double *)o->to = number;
    return true;
}

static bool set(const struct tool_option *o, const char *text)
{
    switch (o->kind) {
    case TOOL_FLAG: *(bool *)o->to = true; break;
    case TOOL_TEXT: *(const char **)o->to = text; break;
    case TOOL_COUNT:
        if (!parse_count(o, text))
            snprintf(wrong, sizeof wrong, "--%s: '%s' is no whole number from %.0f to %.0f", o->name, text, o->low, o->high);
        break;
    case TOOL_SIZE:
        if (!parse_size(o, text))
            snprintf(wrong, sizeof wrong, "--%s: '%s' is no size, like 1000000, 64K, 100M or 2G", o->name, text);
        break;
    case TOOL_REAL:
        if (!parse_real(o, text))
            snprintf(wrong, sizeof wrong, "--%s: '%s' is no number from %g to %g", o->name, text, o->low, o->high);
        break;
    }
    return wrong[0] == 0;
}

/* ---- Arguments ---- */

enum { ROWS = 32 };

/* For getopt: the number of a row is its val, from 256 on, so that it is no letter. */
static size_t list_options(const struct tool_option *rows[ROWS], struct option longs[ROWS + 1], char shorts[3 * ROWS])
{
    const struct tool_option *lists[] = {the_tool->options, common_options};
    size_t n = 0;

    *shorts++ = ':';
    for (size_t l = 0; l < 2; l++)
        for (const struct tool_option *o = lists[l]; o && o->name && n < ROWS; o++) {
            bool has_value = o->kind != TOOL_FLAG;
            longs[n] = (struct option){o->name, has_value ? required_argument : no_argument, NULL, 256 + (int)n};
            if (o->letter)
                *shorts++ = o->letter;
            if (o->letter && has_value)
                *shorts++ = ':';
            rows[n++] = o;
        }
    longs[n] = (struct option){0};
    *shorts = 0;
    return n;
}

/* About what getopt refused: optopt is a row, or a letter, or 0 for a name that there is not. */
static void complain_about(int code, char *const argv[], const struct tool_option *const rows[])
{
    char name[100];

    if (optopt >= 256)
        snprintf(name, sizeof name, "--%s", rows[optopt - 256]->name);
    else if (optopt > 0)
        snprintf(name, sizeof name, "-%c", optopt);
    else
        snprintf(name, sizeof name, "%s", argv[optind - 1]);
    if (code == ':')
        snprintf(wrong, sizeof wrong, "%s needs a value", name);
    else
        snprintf(wrong, sizeof wrong, optopt >= 256 ? "%s takes no value" : "there is no option %s", name);
}

/* Sets wrong if something is; the operands are behind optind then as always. */
static void read_arguments(int argc, char *argv[])
{
    const struct tool_option *rows[ROWS];
    struct option longs[ROWS + 1];
    char shorts[3 * ROWS];
    size_t n = list_options(rows, longs, shorts), row;
    int code;

    opterr = 0;
    while (wrong[0] == 0 && (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (code == '?' || code == ':') {
            complain_about(code, argv, rows);
            return;
        }
        for (row = 0; row < n && code != 256 + (int)row && code != rows[row]->letter; row++)
            ;
        if (!set(rows[row], optarg))
            return;
    }
    size_t operands = (size_t)(argc - optind);
    const char *problem = the_tool->check ? the_tool->check(operands) : NULL;
    if (operands < the_tool->operands)
        snprintf(wrong, sizeof wrong, operands ? "there is an argument missing" : "no arguments");
    else if (problem)
        snprintf(wrong, sizeof wrong, "%s", problem);
}

static void print_options(const struct tool_option *options)
{
    for (const struct tool_option *o = options; o && o->name; o++) {
        char left[40], letter[5] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-23s %s\n", left, o->help);
    }
}

static void print_help(void)
{
    printf("Usage: %s %s\n%s\n\n", the_tool->name, the_tool->usage, the_tool->about);
    print_options(the_tool->options);
    print_options(common_options);
}

/* ---- Standard output ---- */

static bool put(const void *data, size_t size)
{
    return fwrite(data, 1, size, stdout) == size;
}

/* As .output would have it. */
static bool print(void *user, struct pmap_view key, struct pmap_view value)
{
    const struct pmap_mapreduce_options *o = user;
    const struct pmap_mapreduce *what = o->user;
    bool raw = o->format == PMAP_FORMAT_RAW, both = what->key != PMAP_TYPE_NONE && what->value != PMAP_TYPE_NONE;
    char number[24];

    if (what->value == PMAP_TYPE_I64)
        value = (struct pmap_view){number, (size_t)snprintf(number, sizeof number, "%" PRId64, pmap_view_i64(value))};
    return (what->key == PMAP_TYPE_NONE || put(key.data, key.size)) && (raw || !both || put("\t", 1)) &&
           (what->value == PMAP_TYPE_NONE || put(value.data, value.size)) && (raw || put("\n", 1));
}

static bool flush_stdout(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    tool_fail("standard output: %s", strerror(errno));
    clearerr(stdout);
    return false;
}

/* ---- Map-reduce ---- */

bool tool_mapreduce(struct pmap_pool *pool, struct pmap_mapreduce *what, struct pmap_mapreduce_options o)
{
    struct pmap_error error;
    struct pmap_mapreduce_options printed;
    bool ours = !o.deliver && !o.keep;

    o.size = sizeof o;
    o.error = &error;
    o.memory = common.memory;
    o.scratch = common.scratch;
    o.retries = (int)common.retries;
    o.verbose = common.verbose;
    if (common.partitions)
        o.partitions = common.partitions;
    if (common.split_size)
        o.split_size = common.split_size;
    if (ours && common.output) {
        o.output = common.output;
    } else if (ours) {
        printed = o;
        printed.user = what;
        o.deliver = print;
        o.user = &printed;
    }
    enum pmap_status status = pmap_mapreduce_with(pool, what, &o);
    if (ours && !common.output && !flush_stdout())
        return false; /* that is why */
    if (status == PMAP_ECANCELLED && o.deliver && !ours)
        return true; /* it has had enough */
    if (status != PMAP_OK)
        pmap_perror(the_tool->name, &error);
    return status == PMAP_OK;
}

/* ---- Text of the root's ---- */

static char *aside; /* where the file is until it is whole; NULL: standard output */

FILE *tool_text_open(void)
{
    if (common.output == NULL)
        return stdout;
    size_t size = strlen(common.output) + sizeof ".XXXXXX";
    aside = malloc(size);
    if (aside)
        snprintf(aside, size, "%s.XXXXXX", common.output);
    mode_t mask = umask(0);
    umask(mask);
    int fd = aside ? mkstemp(aside) : -1;
    FILE *text = fd >= 0 && fchmod(fd, 0666 & ~mask) == 0 ? fdopen(fd, "w") : NULL;
    if (text)
        return text;
    tool_fail("%s cannot be written: %s", common.output, strerror(errno));
    if (fd >= 0) {
        close(fd);
        unlink(aside);
    }
    free(aside);
    return NULL;
}

bool tool_text_close(FILE *text, bool well)
{
    if (text == stdout)
        return flush_stdout() && well;
    bool written = !ferror(text);
    written = fclose(text) == 0 && written;
    if (well && (!written || rename(aside, common.output) != 0)) {
        tool_fail("%s cannot be written: %s", common.output, strerror(errno));
        well = false;
    }
    if (!well)
        unlink(aside);
    free(aside);
    return well;
}

/* ---- Files ---- */

struct list {
    char **paths;
    size_t n;
};

static bool add(struct list *list, const char *directory, const char *name)
{
    size_t size = (directory ? strlen(directory) + 1 : 0) + strlen(name) + 1;
    char **paths = realloc(list->paths, (list->n + 2) * sizeof *paths), *path = malloc(size);

    if (paths)
        list->paths = paths;
    if (paths == NULL || path == NULL) {
        free(path);
        tool_fail("no memory for the list of files");
        return false;
    }
    bool slash = directory && directory[0] && directory[strlen(directory) - 1] != '/';
    snprintf(path, size, "%s%s%s", directory ? directory : "", slash ? "/" : "", name);
    paths[list->n++] = path;
    paths[list->n] = NULL;
    return true;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool add_directory(struct list *list, const char *directory)
{
    struct dirent **entries;
    struct stat about;
    int n = scandir(directory, &entries, is_visible, by_bytes);
    bool well = n >= 0;

    if (!well)
        tool_fail("%s: %s", directory, strerror(errno));
    for (int i = 0; i < n; i++) {
        well = well && add(list, directory, entries[i]->d_name);
        if (well && stat(list->paths[list->n - 1], &about) == 0 && S_ISDIR(about.st_mode)) {
            free(list->paths[--list->n]);
            list->paths[list->n] = NULL;
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return well;
}

char **tool_files(const char *const paths[])
{
    struct list list = {calloc(1, sizeof(char *)), 0};
    struct stat about;
    bool well = list.paths != NULL;

    for (size_t i = 0; well && paths[i]; i++) {
        well = stat(paths[i], &about) == 0;
        if (!well)
            tool_fail("%s: %s", paths[i], strerror(errno));
        else
            well = S_ISDIR(about.st_mode) ? add_directory(&list, paths[i]) : add(&list, NULL, paths[i]);
    }
    if (well)
        return list.paths;
    tool_files_free(list.paths);
    return NULL;
}

void tool_files_free(char **files)
{
    for (size_t i = 0; files && files[i]; i++)
        free(files[i]);
    free(files);
}

/* ---- main ---- */

static int run_on_root(struct pmap_pool *pool, char *operands[])
{
    if (common.help) {
        print_help();
    } else if (common.version) {
        printf("%s (pmap) %s\n", the_tool->name, pmap_version());
    } else if (wrong[0]) {
        tool_fail("%s\nTry %s --help", wrong, the_tool->name);
        return 2;
    } else {
        return the_tool->run(pool, (const char *const *)operands);
    }
    return flush_stdout() ? 0 : the_tool->failure;
}

int tool_main(const struct tool *tool, int argc, char *argv[])
{
    struct pmap_pool *pool;

    the_tool = tool;
    read_arguments(argc, argv);
    if (pmap_create(&pool, .threads = (int)common.threads) != PMAP_OK)
        return tool->failure;
    if (pool == NULL)
        return 0; /* this rank has served, and is done */
    int status = run_on_root(pool, argv + optind);
    pmap_destroy(pool);
    return status;
}
