/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What pmap-run is made of, piece by piece: templates and quoting, rows of inputs, options, halts, medians, joblogs. The program as a whole
 * is tested by test_run.sh.
 */
#include "harness.h"

#include "tools/run/child.h"
#include "tools/run/done.h"
#include "tools/run/halt.h"
#include "tools/run/inputs.h"
#include "tools/run/log.h"
#include "tools/run/median.h"
#include "tools/run/options.h"
#include "tools/run/progress.h"
#include "tools/run/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Quoting: what GNU parallel 20221122 makes of it ---- */

static void arguments_are_quoted_as_gnu_parallel_does(void)
{
    static const struct {
        const char *is, *becomes;
    } table[] = {
        {"", "''"}, {"a", "a"}, {"a b", "'a b'"}, {"-x", "-x"}, {"a.b_c+d-e/f", "a.b_c+d-e/f"}, {"a=b", "'a=b'"}, {"~", "'~'"},
        {"it's", "'it'\"'\"'s'"}, {"'", "\"'\""}, {"''", "\"'\"''\"'\""}, {"'a", "\"'\"'a'"}, {"a'", "'a'\"'\""}, {"\xc3\xbc", "'\xc3\xbc'"}, {"a:b", "'a:b'"},
        {"a,b", "'a,b'"}, {"@", "'@'"}, {"a\nb", "'a\nb'"}, {"$x", "'$x'"},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct run_text out = {0};
        run_quote(&out, table[i].is);
        CHECK_TEXT(out.data, table[i].becomes);
        free(out.data);
    }
}

/* ---- Templates ---- */

static struct run_row row_of(const char *const columns[])
{
    struct run_row row = {0};
    for (; *columns; columns++)
        run_row_add(&row, *columns, strlen(*columns));
    return row;
}

static void expands_to(const char *command, enum run_quoting quoting, const char *const columns[], const char *expected)
{
    struct run_template *t = run_template_create(&command, command[0] != 0, quoting);
    struct run_row row = row_of(columns);
    char *line = run_template_expand(t, &row, "7", "2");

    CHECK_TEXT(line, expected);
    free(line);
    run_row_free(&row);
    run_template_destroy(t);
}

#define COLUMNS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void replacement_strings_are_parts_of_arguments(void)
{
    const char *const *paths = COLUMNS("a.b/c d.e", "z");

    expands_to("echo {} {.} {/} {//} {/.}", RUN_QUOTE_ARGUMENTS, COLUMNS("x/y.tar.gz"), "echo x/y.tar.gz x/y.tar y.tar.gz x y.tar");
    expands_to("x {1} {2} {-1} {-2} {3} {1//} {1.} {1/} {1/.}", RUN_QUOTE_ARGUMENTS, paths,
               "x 'a.b/c d.e' z z 'a.b/c d.e'  a.b 'a.b/c d' 'c d.e' 'c d'");
    expands_to("x {#}-{%} {x} {+1} {", RUN_QUOTE_ARGUMENTS, paths, "x 7-2 {x} {+1} {");
    expands_to("x {}x{}", RUN_QUOTE_ARGUMENTS, paths, "x 'a.b/c d.e' zx'a.b/c d.e' z");
    expands_to("x {.} {/.}", RUN_QUOTE_ARGUMENTS, COLUMNS(".hidden"), "x '' ''");
}

static void directories_are_those_of_dirname(void)
{
    static const char *const table[][2] = {{"a/b/", "a"}, {"/", "/"}, {"/x", "/"}, {"a//b", "a"}, {"a", "."}, {"a/", "."}, {"//", "/"}, {"/a/b", "/a"}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        expands_to("{//}", RUN_QUOTE_ARGUMENTS, COLUMNS(table[i][0]), table[i][1]);
}

static void without_replacement_strings_arguments_come_last(void)
{
    expands_to("echo", RUN_QUOTE_ARGUMENTS, COLUMNS("a b", "c"), "echo 'a b' c");
    expands_to("echo {#}", RUN_QUOTE_ARGUMENTS, COLUMNS("a b"), "echo 7");
    expands_to("", RUN_QUOTE_NOTHING, COLUMNS("echo a; echo $b"), "echo a; echo $b");
}

static void arguments_that_are_commands_are_not_quoted(void)
{
    expands_to("{} x {}", RUN_QUOTE_ARGUMENTS, COLUMNS("a b"), "a b x a b");
    expands_to("my_{.}", RUN_QUOTE_ARGUMENTS, COLUMNS("a b.c"), "my_a b");
    expands_to("{#} {}", RUN_QUOTE_ARGUMENTS, COLUMNS("a b"), "7 a b");
    expands_to("V={} x", RUN_QUOTE_ARGUMENTS, COLUMNS("a b"), "V='a b' x");
    expands_to(" {}", RUN_QUOTE_ARGUMENTS, COLUMNS("a b"), " 'a b'");
}

static void words_are_quoted_as_a_whole_if_asked(void)
{
    const char *words[] = {"perl", "-e", "print \"{}\"; $x", "{}"};
    struct run_template *t = run_template_create(words, 4, RUN_QUOTE_WORDS);
    struct run_row row = row_of(COLUMNS("a'b"));
    char *line = run_template_expand(t, &row, "1", "1");

    CHECK_TEXT(line, "perl -e 'print \"a'\"'\"'b\"; $x' 'a'\"'\"'b'");
    free(line);
    run_row_free(&row);
    run_template_destroy(t);
}

static void perl_is_refused(void)
{
    const char *word = "echo {= s/a/b/ =}", *none = "echo {=}", *several[] = {"echo", "{=", "x", "=}"};
    struct run_template *t = run_template_create(&none, 1, RUN_QUOTE_ARGUMENTS);

    CHECK(run_template_create(&word, 1, RUN_QUOTE_ARGUMENTS) == NULL);
    CHECK(run_template_create(several, 4, RUN_QUOTE_ARGUMENTS) == NULL);
    CHECK(t != NULL);
    run_template_destroy(t);
}

/* ---- Inputs ---- */

/* All rows as one text: columns with a blank between, a / behind each row. */
static void rows_are(const struct run_source sources[], size_t n, struct run_reading reading, const char *expected)
{
    char error[300];
    struct run_row row;
    struct run_text all = {0};

    reading.stop = -1;
    struct run_inputs *in = run_inputs_open(sources, n, &reading, error);
    CHECK(in != NULL);
    while (in && run_inputs_next(in, &row)) {
        for (size_t i = 0; i < row.n; i++) {
            run_text_puts(&all, i ? " " : "");
            run_text_puts(&all, row.columns[i]);
        }
        run_text_puts(&all, "/");
        run_row_free(&row);
    }
    run_text_puts(&all, "");
    CHECK_TEXT(all.data, expected);
    free(all.data);
    run_inputs_close(in);
}

#define VALUES(count, ...) {.values = (const char *const[]){__VA_ARGS__}, .n = (count)}

static void sources_are_combined_or_linked(void)
{
    const struct run_source product[] = {VALUES(2, "a", "b"), VALUES(2, "1", "2"), VALUES(1, "x")};
    const struct run_source empty[] = {VALUES(2, "a", "b"), {.values = NULL, .n = 0}};
    struct run_source linked[] = {VALUES(3, "a", "b", "c"), VALUES(2, "1", "2"), VALUES(2, "x", "y")};

    rows_are(product, 3, (struct run_reading){0}, "a 1 x/a 2 x/b 1 x/b 2 x/");
    rows_are(empty, 2, (struct run_reading){0}, "");
    rows_are(linked, 3, (struct run_reading){.link_all = true}, "a 1 x/b 2 y/c 1 x/");
    linked[1].linked = true;
    rows_are(linked, 3, (struct run_reading){0}, "a 1 x/a 1 y/b 2 x/b 2 y/");
}

static void values_are_split_into_columns(void)
{
    const struct run_source values[] = {VALUES(3, "a1b22c", "", "7x")};
    const struct run_source tabs[] = {VALUES(1, " a\t b c\t")};

    rows_are(values, 1, (struct run_reading){.columns = "[0-9]+"}, "a b c// x/");
    rows_are(values, 1, (struct run_reading){.columns = "\\d+"}, "a b c// x/");
    rows_are(tabs, 1, (struct run_reading){.columns = "\\t", .trim = true}, "a b c /");
}

static void lines_of_files_are_values(void)
{
    char name[] = "/tmp/pmap-test-run-XXXXXX";
    int file = mkstemp(name);
    struct run_source source = {.path = name};

    CHECK(file >= 0 && write(file, "#!x\na\n\n \nb c", 12) == 12);
    rows_are(&source, 1, (struct run_reading){.delimiter = '\n'}, "#!x/a// /b c/");
    rows_are(&source, 1, (struct run_reading){.delimiter = '\n', .skip_first_line = true, .skip_blank = true}, "a/b c/");
    close(file);
    unlink(name);
}

static void bad_inputs_are_named(void)
{
    char error[300] = "";
    const struct run_source missing = {.path = "/no such/file"}, one = VALUES(1, "a");

    CHECK(run_inputs_open(&missing, 1, &(struct run_reading){.stop = -1}, error) == NULL);
    CHECK(strstr(error, "/no such/file: No such file") != NULL);
    CHECK(run_inputs_open(&one, 1, &(struct run_reading){.stop = -1, .columns = "("}, error) == NULL);
    CHECK(strstr(error, "--colsep '('") != NULL);
}

/* ---- Options ---- */

/* Options, and the words of the line that they point to. */
struct line {
    struct run_options o;
    char **words, *argv[40];
    size_t n;
};

static struct line *options_of(const char *text)
{
    struct line *line = test_array(1, sizeof *line);

    line->words = run_options_split(text, &line->n);
    line->argv[0] = "pmap-run";
    for (size_t i = 0; i < line->n; i++)
        line->argv[i + 1] = line->words[i];
    run_options_read(&line->o, (int)line->n + 1, line->argv);
    return line;
}

static void free_line(struct line *line)
{
    run_options_free(&line->o);
    for (size_t i = 0; i < line->n; i++)
        free(line->words[i]);
    free(line->words);
    free(line);
}

static void options_end_where_the_command_begins(void)
{
    struct line *line = options_of("-k -j3 --timeout=2m30s echo -k '{} x' ::: a b :::+ c :::: f g");

    CHECK_TEXT(line->o.wrong, "");
    CHECK(line->o.keep_order && line->o.threads == 3 && line->o.timeout == 150);
    CHECK(line->o.words_n == 3 && strcmp(line->o.words[2], "{} x") == 0);
    CHECK(line->o.sources_n == 4 && line->o.sources[0].n == 2 && line->o.sources[1].linked && !line->o.sources[2].linked && strcmp(line->o.sources[3].path, "g") == 0);
    free_line(line);
}

static void values_of_options_are_checked(void)
{
    static const char *const bad[] = {"-j 1.5", "-j x", "-j -", "--timeout 0", "--timeout 5x", "--timeout ''", "--retries 1.5", "--halt now", "--halt now,fail=", "--halt now,fail=1x",
                                      "--halt later,fail=1", "--memfree 0", "--memfree 1Q", "--results a.json", "--trim x", "-d ab", "--bogus", "--bar=1", "--joblog"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct line *line = options_of(bad[i]);
        CHECK(line->o.wrong[0] != 0);
        free_line(line);
    }
    struct line *line = options_of("--timeout 250% --memfree 1.5G --retries 0 -j 200% --joblog +x ::: 1");
    CHECK_TEXT(line->o.wrong, "");
    CHECK(line->o.timeout == 0 && line->o.timeout_share == 2.5 && line->o.free_memory == 3 * ((size_t)1 << 29) && line->o.tries > 1000000);
    CHECK(line->o.threads >= 2 && line->o.append && strcmp(line->o.joblog, "x") == 0);
    free_line(line);
}

/* ---- Halts, medians, progress ---- */

static void halts_are_due_as_they_say(void)
{
    struct run_halt h;

    CHECK(run_halt_parse("never", &h) && !run_halt_is_due(&h, &(struct run_counts){9, 9, 9}));
    CHECK(run_halt_parse("2", &h) && h.when == RUN_NOW && h.of == RUN_FAIL && h.number == 1);
    CHECK(!run_halt_is_due(&h, &(struct run_counts){5, 0, 9}) && run_halt_is_due(&h, &(struct run_counts){5, 1, 9}));
    CHECK_INT(run_halt_status(&h, &(struct run_counts){5, 1, 9}, 7 << 8), 7);
    CHECK_INT(run_halt_status(&h, &(struct run_counts){5, 1, 9}, 9), 137);
    CHECK(run_halt_parse("soon,fail=30%", &h) && h.when == RUN_SOON);
    CHECK(!run_halt_is_due(&h, &(struct run_counts){4, 2, 8}) && run_halt_is_due(&h, &(struct run_counts){5, 3, 8}));
    CHECK(!run_halt_is_due(&h, &(struct run_counts){5, 3, 0})); /* of what is not known */
    CHECK_INT(run_halt_status(&h, &(struct run_counts){5, 3, 8}, 1 << 8), 38);
    CHECK(run_halt_parse("now,success=2", &h) && !run_halt_is_due(&h, &(struct run_counts){3, 2, 8}) && run_halt_is_due(&h, &(struct run_counts){4, 2, 8}));
    CHECK_INT(run_halt_status(&h, &(struct run_counts){4, 2, 8}, 0), 0);
    CHECK(run_halt_parse("10%", &h) && h.when == RUN_SOON && h.percent);
}

static void median_is_good_to_a_percent(void)
{
    struct run_median *m = calloc(1, sizeof *m);

    CHECK(run_median(m) == 0);
    for (int i = 1; i <= 999; i++)
        run_median_add(m, 0.001 * i);
    CHECK(run_median(m) > 0.494 && run_median(m) < 0.506);
    run_median_add(m, 1e12);
    run_median_add(m, 0);
    CHECK(run_median(m) > 0.494 && run_median(m) < 0.506);
    free(m);
}

static void progress_fits_the_terminal(void)
{
    const struct run_progress p = {.bar = true};
    char line[300];

    run_progress_line(line, sizeof line, &p, &(struct run_counts){25, 2, 100}, 4, 10, 100);
    CHECK_TEXT(line, "[##########..............................] 25/100 (25%) done  4 running  2 failed  30s left");
    run_progress_line(line, sizeof line, &p, &(struct run_counts){25, 0, 0}, 4, 10, 100);
    CHECK_TEXT(line, "25 done  4 running");
    for (int width = 1; width < 120; width++) {
        run_progress_line(line, sizeof line, &p, &(struct run_counts){123456, 99, 1000000}, 64, 1e5, width);
        CHECK((int)strlen(line) < width);
    }
}

/* ---- Joblogs ---- */

static void write_log(const char *name, const struct run_log_row rows[], size_t n)
{
    int log = run_log_open(name, true);

    CHECK(log >= 0);
    for (size_t i = 0; i < n; i++)
        CHECK(run_log_write(log, &rows[i]));
    close(log);
}

static bool is_done(struct run_done *done, const char *argument)
{
    struct run_row row = row_of(COLUMNS(argument));
    bool yes = run_done_take(done, &row);
    run_row_free(&row);
    return yes;
}

static void jobs_are_found_by_their_command_wherever_they_are(void)
{
    const char *name = "test_run.joblog", *command = "sim {} > out/{#}.{%}", *words[] = {command};
    const struct run_log_row rows[] = {
        {.sequence = 1, .host = ":", .command = "sim 1 > out/1.1"},
        {.sequence = 2, .host = "node2", .command = "sim 'a\nb' > out/2.2"},
        {.sequence = 3, .host = ":", .command = "sim 3 > out/3.1", .exit = 1},
        {.sequence = 3, .host = ":", .command = "sim 3 > out/3.1", .exit = -1, .signal = 15},
        {.sequence = 11, .host = ":", .command = "sim 11 > out/11.2"},
    };
    char error[300] = "";
    long long end;

    write_log(name, rows, 5);
    struct run_template *t = run_template_create(words, 1, RUN_QUOTE_ARGUMENTS);
    struct run_done *all = run_done_read(name, false, t, 2, &end, error), *good = run_done_read(name, true, t, 2, &end, error);
    CHECK(all != NULL && good != NULL);
    CHECK(is_done(all, "11") && is_done(all, "3") && is_done(all, "a\nb") && is_done(all, "1"));
    CHECK(!is_done(all, "1") && !is_done(all, "3") && !is_done(all, "2")); /* once each, though 3 has two rows */
    CHECK(is_done(good, "1") && !is_done(good, "3") && is_done(good, "11"));
    run_done_free(all);
    run_done_free(good);
    run_template_destroy(t);
    unlink(name);
}

static void a_torn_row_is_none_and_other_files_are_refused(void)
{
    const char *name = "test_run.joblog", *words[] = {"x"};
    struct run_template *t = run_template_create(words, 1, RUN_QUOTE_ARGUMENTS);
    const struct run_log_row row = {.sequence = 1, .host = ":", .command = "x 1"};
    char error[300] = "";
    long long end;

    write_log(name, &row, 1);
    FILE *file = fopen(name, "a");
    fputs("2\t:\t1.0\t1.0", file);
    fclose(file);
    struct run_done *done = run_done_read(name, false, t, 1, &end, error);
    CHECK(done != NULL && is_done(done, "1"));
    run_done_free(done);
    int log = run_log_open_at(name, end);
    CHECK(log >= 0 && lseek(log, 0, SEEK_END) == end);
    CHECK(write(log, "nonsense\n", 9) == 9);
    close(log);
    CHECK(run_done_read(name, false, t, 1, &end, error) == NULL && strstr(error, "line 3 is 'nonsense'") != NULL);
    unlink(name);
    done = run_done_read(name, false, t, 1, &end, error);
    CHECK(done != NULL && end == 0 && !is_done(done, "1"));
    run_done_free(done);
    run_template_destroy(t);
}

/* ---- Commands ---- */

static void only_simple_commands_go_without_a_shell(void)
{
    static const char *const simple[] = {"true", "sim --x 1,2 file.txt", "./a b", "/bin/echo a", "a b=c"};
    static const char *const other[] = {"", " a", "a; b", "a 'b'", "a $b", "a > b", "a=b c", "echo a", "cd x", "a*", "~/a", "a {1,2}", "a\nb", "\xc3\xbc", "time a", "if"};

    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++)
        CHECK(run_command_is_simple("/bin/sh", simple[i]) && !run_command_is_simple("/bin/zsh", simple[i]));
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        CHECK(!run_command_is_simple("/bin/sh", other[i]));
}

static const struct test tests[] = {TEST(arguments_are_quoted_as_gnu_parallel_does),
                                    TEST(replacement_strings_are_parts_of_arguments),
                                    TEST(directories_are_those_of_dirname),
                                    TEST(without_replacement_strings_arguments_come_last),
                                    TEST(arguments_that_are_commands_are_not_quoted),
                                    TEST(words_are_quoted_as_a_whole_if_asked),
                                    TEST(perl_is_refused),
                                    TEST(sources_are_combined_or_linked),
                                    TEST(values_are_split_into_columns),
                                    TEST(lines_of_files_are_values),
                                    TEST(bad_inputs_are_named),
                                    TEST(options_end_where_the_command_begins),
                                    TEST(values_of_options_are_checked),
                                    TEST(halts_are_due_as_they_say),
                                    TEST(median_is_good_to_a_percent),
                                    TEST(progress_fits_the_terminal),
                                    TEST(jobs_are_found_by_their_command_wherever_they_are),
                                    TEST(a_torn_row_is_none_and_other_files_are_refused),
                                    TEST(only_simple_commands_go_without_a_shell),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
