/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/options.h"

#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Values ---- */

typedef bool read_fn(struct run_options *o, const char *text);

static bool read_number(const char *text, double *number, const char **rest)
{
    char *end;

    if (!isdigit((unsigned char)*text) && *text != '.')
        return false;
    *number = strtod(text, &end);
    *rest = end;
    return end != text && isfinite(*number) && strcspn(text, "xXeEpP") >= (size_t)(end - text);
}

static int cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* N, +N and -N to the CPUs, N% of them; 0: as many as is sensible at all. */
static bool read_jobs(struct run_options *o, const char *text)
{
    enum { MANY = 250, MOST = 65536 }; /* threads that a pool may have */
    char sign = *text == '+' || *text == '-' ? *text : 0;
    const char *rest;
    double n, whole;

    if (!read_number(text + (sign != 0), &n, &rest) || (*rest && (sign || strcmp(rest, "%") != 0)))
        return false;
    if (*rest == 0 && modf(n, &whole) != 0)
        return false;
    if (sign)
        n = cpus() + (sign == '+' ? n : -n);
    else if (*rest)
        n = ceil(cpus() * n / 100);
    else if (n == 0)
        n = MANY;
    o->threads = n < 1 ? 1 : n > MOST ? MOST : (int)n;
    return true;
}

static bool read_tries(struct run_options *o, const char *text)
{
    const char *rest;
    double n, whole;

    if (!read_number(text, &n, &rest) || *rest || n > 1e9 || modf(n, &whole) != 0)
        return false;
    o->tries = n == 0 ? SIZE_MAX : (size_t)n;
    return true;
}

/* Seconds: 10, 1.5h, 2m30s. */
static bool read_seconds(const char *text, double *seconds)
{
    static const char units[] = "smhdSMHD";
    static const double each[] = {1, 60, 3600, 86400};
    double n, sum = 0;

    do {
        if (!read_number(text, &n, &text))
            return false;
        const char *unit = *text ? strchr(units, *text) : NULL;
        if (*text && unit == NULL)
            return false;
        sum += n * (unit ? each[(unit - units) % 4] : 1);
        text += unit != NULL;
    } while (*text);
    *seconds = sum;
    return sum > 0;
}

static bool read_timeout(struct run_options *o, const char *text)
{
    const char *rest;
    double percent;

    if (!read_number(text, &percent, &rest) || strcmp(rest, "%") != 0)
        return read_seconds(text, &o->timeout);
    o->timeout_share = percent / 100;
    return percent > 0;
}

/* As in GNU parallel: K is 1024, k is 1000. */
static bool read_size(struct run_options *o, const char *text)
{
    static const char units[] = "KkMmGgTt";
    const char *rest, *unit;
    double n;

    if (!read_number(text, &n, &rest))
        return false;
    if (*rest && (unit = strchr(units, *rest))) {
        n *= pow((unit - units) % 2 ? 1000 : 1024, (double)((unit - units) / 2 + 1));
        rest++;
    }
    o->free_memory = n < 1e18 ? (size_t)n : 0;
    return *rest == 0 && n >= 1 && n < 1e18;
}

static bool read_halt(struct run_options *o, const char *text)
{
    return run_halt_parse(text, &o->halt);
}

static bool read_joblog(struct run_options *o, const char *text)
{
    o->append = *text == '+';
    o->joblog = text + o->append;
    return *o->joblog != 0;
}

static bool read_results(struct run_options *o, const char *text)
{
    static const char *const tables[] = {".csv", ".tsv", ".json"};
    size_t n = strlen(text);

    for (size_t i = 0; i < 3; i++)
        if (n >= strlen(tables[i]) && strcmp(text + n - strlen(tables[i]), tables[i]) == 0)
            return false;
    o->results = text;
    return n > 0;
}

static bool read_delimiter(struct run_options *o, const char *text)
{
    static const struct {
        const char *is;
        char means;
    } escapes[] = {{"\\0", 0}, {"\\n", '\n'}, {"\\t", '\t'}, {"\\\\", '\\'}};

    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (strcmp(text, escapes[i].is) == 0) {
            o->reading.delimiter = escapes[i].means;
            return true;
        }
    o->reading.delimiter = *text;
    return strlen(text) == 1;
}

static bool read_trim(struct run_options *o, const char *text)
{
    o->trim_given = true;
    o->reading.trim = strcmp(text, "lr") == 0 || strcmp(text, "rl") == 0;
    return o->reading.trim || strcmp(text, "n") == 0;
}

static bool read_columns(struct run_options *o, const char *text)
{
    o->reading.columns = text;
    return *text != 0;
}

static void add_source(struct run_options *o, struct run_source source)
{
    o->sources = run_resize(o->sources, o->sources_n + 1, sizeof *o->sources);
    o->sources[o->sources_n++] = source;
}

static bool read_file(struct run_options *o, const char *text)
{
    add_source(o, (struct run_source){.path = text});
    return *text != 0;
}

/* ---- The table ---- */

static const struct row {
    const char *name;
    char letter;
    size_t flag;     /* where a flag is in struct run_options; if there is no read */
    read_fn *read;
    const char *value, *help; /* help: NULL: taken, and nothing comes of it */
    const char *wants; /* what a bad value is not */
} rows[] = {
#define FLAG(field) offsetof(struct run_options, field), NULL, NULL
    {"jobs", 'j', 0, read_jobs, "N", "commands at once on each rank: N, N% of the CPUs, +N or -N (its share of the CPUs)", "a number, N%, +N or -N"},
    {"keep-order", 'k', FLAG(keep_order), "print outputs in the order of the input", NULL},
    {"arg-file", 'a', 0, read_file, "FILE", "take arguments, or commands, from the lines of FILE", "a file"},
    {"null", '0', 0, NULL, NULL, "they end with a zero byte, not with a line break", NULL},
    {"delimiter", 'd', 0, read_delimiter, "CHAR", "they end with CHAR", "a single character"},
    {"colsep", 'C', 0, read_columns, "REGEXP", "split them into columns {1} {2}", "an expression"},
    {"trim", 0, 0, read_trim, "HOW", "lr: without blanks around them (the default with --colsep); n: as they are", "n or lr"},
    {"link", 0, FLAG(reading.link_all), "one argument of each source, not all combinations", NULL},
    {"no-run-if-empty", 'r', FLAG(reading.skip_blank), "nothing for lines that are blank", NULL},
    {"skip-first-line", 0, FLAG(reading.skip_first_line), "not the first line of the first file", NULL},
    {"quote", 'q', FLAG(quote), "the words of the command mean themselves, whatever the shell would see in them", NULL},
    {"joblog", 0, 0, read_joblog, "FILE", "a line for each job that is over; +FILE: behind what is there", "a file"},
    {"resume", 0, FLAG(resume), "not what is in the joblog, or the results", NULL},
    {"resume-failed", 0, FLAG(resume_failed), "not what succeeded according to the joblog", NULL},
    {"results", 0, 0, read_results, "DIR", "outputs go to files below DIR, or named by it, not to the terminal", "a directory, or a name with {}: tables (.csv, .tsv, .json) are not written"},
    {"retries", 0, 0, read_tries, "N", "run a job up to N times until it succeeds; 0: for ever", "a whole number"},
    {"timeout", 0, 0, read_timeout, "TIME", "end a command after so many seconds (30, 1.5m, 2h), or N% of the median of those that succeeded", "a time like 30, 1.5m or 300%"},
    {"halt", 0, 0, read_halt, "WHEN", "never, or begin no more (soon), or end all (now), after so many: soon,fail=1 now,success=3 soon,done=10%", "like now,fail=1 or soon,success=10%"},
    {"memfree", 0, 0, read_size, "SIZE", "begin only while so much memory is free on the rank", "a size like 500M or 2G"},
    {"tag", 0, FLAG(tag), "begin each line of output with the arguments", NULL},
    {"verbose", 'v', FLAG(verbose), "print each command above its output", NULL},
    {"bar", 0, FLAG(bar), "show on stderr how far it is", NULL},
    {"eta", 0, FLAG(eta), "the same, without the bar", NULL},
    {"dry-run", 0, FLAG(dry_run), "print the commands, run nothing", NULL},
    {"survive", 0, FLAG(survive), "ranks may die: others run again what they had", NULL},
    {"help", 'h', FLAG(help), "print this", NULL},
    {"version", 'V', FLAG(version), "print the version", NULL},
    {"max-procs", 'P', 0, read_jobs, "N", NULL, "a number, N%, +N or -N"}, /* what GNU parallel, or xargs, calls the same */
    {"xapply", 0, FLAG(reading.link_all), NULL, NULL},
    {"dryrun", 0, FLAG(dry_run), NULL, NULL},
    {"group", 0, FLAG(ignored), NULL, NULL},
    {"will-cite", 0, FLAG(ignored), NULL, NULL},
#undef FLAG
};
enum { ROWS = sizeof rows / sizeof *rows };

void run_options_help(void)
{
    printf("Usage: pmap-run [OPTION]... [COMMAND [ARGUMENT]...] [::: VALUE... | :::: FILE...]...\n"
           "       mpirun -n RANKS pmap-run ...\n"
           "       #!/usr/bin/pmap-run --shebang [OPTION]... [COMMAND]    as the first line of a file\n"
           "Run a command for each argument, as GNU parallel does, on all ranks of an MPI job, or on the cores of this machine.\n"
           "Without sources of arguments they are the lines of standard input; without a command they are the commands.\n\n"
           "  ::: VALUE...    arguments; several sources are combined; :::+ links one to the source before\n"
           "  :::: FILE...    arguments from files, - is standard input; ::::+ likewise\n"
           "  {} {.} {/} {//} {/.}     the argument, without extension, base name, directory, base name without extension\n"
           "  {1} {2.} {-1/} ...       the same of the first, second, last one\n"
           "  {#} {%%}                  number of the job, number of its slot\n\n");
    for (size_t i = 0; i < ROWS; i++) {
        char left[60], letter[5] = "    ";
        if (rows[i].help == NULL)
            continue;
        if (rows[i].letter)
            snprintf(letter, sizeof letter, "-%c, ", rows[i].letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, rows[i].name, rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
        printf("  %-25s %s\n", left, rows[i].help);
    }
    printf("\nThe exit status is the number of jobs that failed, 101 if there are more than 100; 255: nothing could be run; 85: interrupted.\n");
}

/* ---- Options ---- */

static void list_options(struct option longs[ROWS + 1], char shorts[2 * ROWS + 3])
{
    size_t n = 0;

    shorts[n++] = '+'; /* the first word that is none begins the command */
    shorts[n++] = ':';
    for (size_t i = 0; i < ROWS; i++) {
        longs[i] = (struct option){rows[i].name, rows[i].read ? required_argument : no_argument, NULL, 256 + (int)i};
        if (rows[i].letter)
            shorts[n++] = rows[i].letter;
        if (rows[i].letter && rows[i].read)
            shorts[n++] = ':';
    }
    longs[ROWS] = (struct option){0};
    shorts[n] = 0;
}

static void complain(struct run_options *o, int code, char *const argv[])
{
    char name[100];

    if (optopt >= 256)
        snprintf(name, sizeof name, "--%s", rows[optopt - 256].name);
    else if (optopt > 0)
        snprintf(name, sizeof name, "-%c", optopt);
    else
        snprintf(name, sizeof name, "%.90s", argv[optind - 1]);
    if (code == ':')
        snprintf(o->wrong, sizeof o->wrong, "%s needs a value", name);
    else
        snprintf(o->wrong, sizeof o->wrong, optopt >= 256 ? "%s takes no value" : "there is no option %s", name);
}

static void set(struct run_options *o, const struct row *row, const char *text)
{
    if (strcmp(row->name, "null") == 0)
        o->reading.delimiter = 0;
    else if (row->read == NULL)
        *(bool *)((char *)o + row->flag) = true;
    else if (!row->read(o, text))
        snprintf(o->wrong, sizeof o->wrong, "--%s: '%.60s' is not %s", row->name, text, row->wants);
}

static void read_options(struct run_options *o, int argc, char *argv[])
{
    struct option longs[ROWS + 1];
    char shorts[2 * ROWS + 3];
    size_t row;
    int code;

    list_options(longs, shorts);
    opterr = 0;
    optind = 0; /* anew, also after --shebang */
    while (o->wrong[0] == 0 && (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (code == '?' || code == ':') {
            complain(o, code, argv);
            return;
        }
        for (row = 0; row < ROWS && code != 256 + (int)row && code != rows[row].letter; row++)
            ;
        set(o, &rows[row], optarg);
    }
}

/* ---- Command and sources ---- */

static bool is_separator(const char *word)
{
    size_t colons = strspn(word, ":");
    return (colons == 3 || colons == 4) && (word[colons] == 0 || strcmp(word + colons, "+") == 0);
}

/* Behind a separator; returns behind its words. */
static char **read_source(struct run_options *o, char **words)
{
    const char *separator = *words++;
    bool files = strspn(separator, ":") == 4, linked = strchr(separator, '+') != NULL;
    size_t n = 0;

    while (words[n] && !is_separator(words[n]))
        n++;
    if (!files)
        add_source(o, (struct run_source){.values = (const char *const *)words, .n = n, .linked = linked});
    for (size_t i = 0; i < n && files; i++)
        add_source(o, (struct run_source){.path = words[i], .linked = linked});
    if (files && n == 0)
        snprintf(o->wrong, sizeof o->wrong, "there is no file behind %s", separator);
    return words + n;
}

static void read_rest(struct run_options *o, char **words)
{
    for (; *words && !is_separator(*words); words++) {
        o->words = run_resize(o->words, o->words_n + 1, sizeof *o->words);
        o->words[o->words_n++] = *words;
    }
    while (*words)
        words = read_source(o, words);
    if (o->sources_n == 0)
        add_source(o, (struct run_source){.path = "-"});
}

static void check(struct run_options *o)
{
    const char *problem = NULL;

    if (o->wrong[0])
        return;
    if ((o->resume || o->resume_failed) && o->joblog == NULL && o->results == NULL)
        problem = "--resume and --resume-failed need --joblog or --results: that is where it says what was done";
    else if (o->resume_failed && o->joblog == NULL)
        problem = "--resume-failed needs --joblog: results do not say what failed";
    if (problem)
        snprintf(o->wrong, sizeof o->wrong, "%s", problem);
}

/* ---- A tasks file that is a program ---- */

char **run_options_split(const char *line, size_t *n)
{
    struct run_text word = {0};
    char **words = NULL, quote = 0;
    bool inside = false;

    *n = 0;
    for (;; line++) {
        bool blank = quote == 0 && (*line == ' ' || *line == '\t' || *line == '\n');
        if ((blank || *line == 0) && inside) {
            words = run_resize(words, *n + 1, sizeof *words);
            words[(*n)++] = run_text_take(&word);
            inside = false;
        }
        if (*line == 0)
            break;
        if (blank)
            continue;
        inside = true;
        if (quote ? *line == quote : *line == '"' || *line == '\'')
            quote = quote ? 0 : *line;
        else if (*line == '\\' && quote != '\'' && line[1])
            run_text_add(&word, ++line, 1);
        else
            run_text_add(&word, line, 1);
    }
    free(word.data);
    return words;
}

/* #!/usr/bin/pmap-run --shebang OPTIONS COMMAND: the kernel makes that two arguments, and the file the third: its lines, but for the first, are
 * the arguments. What comes behind the file is for the command. Not freed: it is the command line. */
static void read_shebang(int *argc, char ***argv)
{
    size_t n = 0, given = (size_t)*argc;
    char **words = run_options_split((*argv)[1], &n), **all = run_resize(NULL, n + given + 4, sizeof *all);
    size_t k = 0;

    all[k++] = (*argv)[0];
    all[k++] = "--skip-first-line";
    all[k++] = "--arg-file";
    all[k++] = given > 2 ? (*argv)[given - 1] : "-";
    for (size_t i = 1; i < n; i++)
        all[k++] = words[i];
    for (size_t i = 2; i + 1 < given; i++)
        all[k++] = (*argv)[i];
    all[k] = NULL;
    free(words);
    *argc = (int)k;
    *argv = all;
}

void run_options_read(struct run_options *o, int argc, char *argv[])
{
    *o = (struct run_options){.tries = 1, .reading = {.delimiter = '\n', .stop = -1}};
    if (argc > 1 && strncmp(argv[1], "--shebang", 9) == 0 && (argv[1][9] == 0 || argv[1][9] == ' '))
        read_shebang(&argc, &argv);
    read_options(o, argc, argv);
    if (o->reading.columns && !o->trim_given)
        o->reading.trim = true;
    if (o->wrong[0] == 0)
        read_rest(o, argv + optind);
    check(o);
}

void run_options_free(struct run_options *o)
{
    free(o->sources);
    free(o->words);
}
