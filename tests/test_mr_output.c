/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: numbers as keys and as text, and files of output, which are there as a whole or not at all, whatever happens. That is so with
 * files that have no name and without (the linker puts __wrap_open in the place of open, so that a test can take O_TMPFILE away).
 */
#include "harness.h"
#include "mapreduce/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t random_state = 12345;

static uint64_t random_bits(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (random_state ^ random_state >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

static struct pmap_view view(const void *data, size_t size)
{
    return (struct pmap_view){data, size};
}

static struct pmap_view text_view(const char *text)
{
    return view(text, strlen(text));
}

/* ---- Numbers as keys ---- */

static double from_bits(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static const int64_t integers[] = {INT64_MIN, INT64_MIN + 1, -4294967296, -256, -2, -1, 0, 1, 9, 10, 99, 100, 101, 255, 256, 65535,
                                   4294967295, 4294967296, 999999999999999999, INT64_MAX - 1, INT64_MAX};
enum { INTEGERS = sizeof integers / sizeof *integers };

/* In their order. */
static const double reals[] = {-INFINITY, -DBL_MAX, -1e300, -2, -1.5, -1, -DBL_MIN, -DBL_MIN / 4, -5e-324, -0.0, 0.0, 5e-324, DBL_MIN / 4,
                               DBL_MIN, 0.1, 0.3, 1.0 / 3, 0.5, 1, 1 + DBL_EPSILON, 1.5, 2, 123456789.125, 999999999999999, 1e15,
                               9007199254740994, 1e16, 1e22, 1e23, 1e300, DBL_MAX, INFINITY};
enum { REALS = sizeof reals / sizeof *reals };

static int sign(int number)
{
    return (number > 0) - (number < 0);
}

static int order_of_keys(struct pmap_key8 a, struct pmap_key8 b)
{
    return sign(memcmp(a.bytes, b.bytes, 8));
}

static void bytes_of_integers_sort_like_the_integers(void)
{
    bool same = true;
    for (int i = 0; i < 20000; i++) {
        int64_t a = i < INTEGERS * INTEGERS ? integers[i / INTEGERS] : (int64_t)random_bits() >> random_bits() % 64;
        int64_t b = i < INTEGERS * INTEGERS ? integers[i % INTEGERS] : (int64_t)random_bits() >> random_bits() % 64;
        uint64_t u = (uint64_t)a, v = (uint64_t)b;
        same = same && order_of_keys(pmap_key_i64(a), pmap_key_i64(b)) == (a > b) - (a < b);
        same = same && order_of_keys(pmap_key_u64(u), pmap_key_u64(v)) == (u > v) - (u < v);
        struct pmap_key8 key = pmap_key_i64(a), unsigned_key = pmap_key_u64(u);
        same = same && pmap_i64_key(view(&key, 8)) == a && pmap_u64_key(view(&unsigned_key, 8)) == u;
        if (!CHECK_SAYING(same, "%lld and %lld", (long long)a, (long long)b))
            return;
    }
}

/* What the header promises: numbers as they are, -0 before 0, NaN last, and one. */
static int order_of_doubles(double a, double b)
{
    if (isnan(a) || isnan(b))
        return !!isnan(a) - !!isnan(b);
    return a == b ? !!signbit(b) - !!signbit(a) : a < b ? -1 : 1;
}

static void bytes_of_doubles_sort_like_the_doubles(void)
{
    for (int i = 0; i < REALS * REALS; i++)
        CHECK_INT(order_of_keys(pmap_key_f64(reals[i / REALS]), pmap_key_f64(reals[i % REALS])), sign(i / REALS - i % REALS));
    for (int i = 0; i < 50000; i++) {
        double a = from_bits(random_bits()), b = i % 2 ? from_bits(random_bits()) : i % 4 ? (double)NAN : reals[i % REALS];
        struct pmap_key8 key = pmap_key_f64(a);
        if (!CHECK_SAYING(order_of_keys(key, pmap_key_f64(b)) == order_of_doubles(a, b), "%a and %a", a, b) ||
            !CHECK_SAYING(isnan(a) || bits_of(pmap_f64_key(view(&key, 8))) == bits_of(a), "%a", a))
            return;
    }
    CHECK_INT(order_of_keys(pmap_key_f64(-(double)NAN), pmap_key_f64(from_bits(UINT64_C(0x7ff0000000000001)))), 0);
    struct pmap_key8 key = pmap_key_f64(-(double)NAN);
    CHECK(isnan(pmap_f64_key(view(&key, 8))));
}

static void what_has_not_8_bytes_is_0(void)
{
    static const unsigned char bytes[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (size_t size = 0; size <= 9; size++) {
        struct pmap_view v = view(bytes, size);
        CHECK((pmap_i64_key(v) != 0) == (size == 8) && (pmap_u64_key(v) != 0) == (size == 8) && (pmap_f64_key(v) != 0) == (size == 8));
        CHECK((pmap_view_i64(v) != 0) == (size == 8) && (pmap_view_f64(v) != 0) == (size == 8));
    }
}

/* ---- Combine ---- */

static void combines_of_integers_are_those_of_c(void)
{
    for (int i = 0; i < INTEGERS * INTEGERS; i++) {
        int64_t a = integers[i / INTEGERS], b = integers[i % INTEGERS], sum = a, least = a, most = a;
        pmap_sum_i64(&sum, &b);
        pmap_min_i64(&least, &b);
        pmap_max_i64(&most, &b);
        CHECK((uint64_t)sum == (uint64_t)a + (uint64_t)b);
        CHECK(least == (a < b ? a : b) && most == (a > b ? a : b));
    }
}

static double folded(pmap_combine_fn *fold, double acc, double value)
{
    fold(&acc, &value);
    return acc;
}

static double any_double(void)
{
    static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, 1, -1};
    uint64_t bits = random_bits();
    if (bits % 4 == 0)
        return from_bits(UINT64_C(0x7ff0000000000001) | (bits & (UINT64_C(1) << 63 | 0xff00))); /* a NaN, one of many */
    return bits % 4 == 1 ? special[bits / 4 % 6] : from_bits(random_bits());
}

static void min_and_max_of_doubles_have_the_same_bits_in_any_order(void)
{
    pmap_combine_fn *const folds[] = {pmap_min_f64, pmap_max_f64};
    for (int i = 0; i < 50000; i++) {
        pmap_combine_fn *fold = folds[i % 2];
        double a = any_double(), b = any_double(), c = any_double(), ab = folded(fold, a, b);
        double less = order_of_doubles(a, b) < 0 ? a : b, more = order_of_doubles(a, b) < 0 ? b : a;
        double wanted = isnan(a) ? b : isnan(b) ? a : i % 2 ? more : less;
        bool same = bits_of(ab) == bits_of(folded(fold, b, a));
        same = same && bits_of(folded(fold, ab, c)) == bits_of(folded(fold, a, folded(fold, b, c)));
        same = same && (isnan(wanted) ? isnan(ab) : bits_of(ab) == bits_of(wanted));
        if (!CHECK_SAYING(same, "%a, %a, %a", a, b, c))
            return;
    }
}

/* ---- Formats ---- */

static struct pmap__formatter tabbed(enum pmap_type key, enum pmap_type value)
{
    return (struct pmap__formatter){PMAP_FORMAT_TEXT, key, value, "\t", 1};
}

static void check_line(struct pmap__formatter f, struct pmap_view key, struct pmap_view value, const char *expected)
{
    char line[200];
    size_t size = pmap__format_pair(&f, key, value, line);
    CHECK_INT(size, pmap__format_size(&f, key, value));
    line[size] = '\0';
    CHECK_TEXT(line, expected);
}

static void text_has_key_separator_value_newline(void)
{
    struct pmap_view key = text_view("key"), value = text_view("value"), nothing = view("", 0);
    check_line(tabbed(PMAP_TYPE_BYTES, PMAP_TYPE_BYTES), key, value, "key\tvalue\n");
    check_line(tabbed(PMAP_TYPE_BYTES, PMAP_TYPE_NONE), key, value, "key\n");
    check_line(tabbed(PMAP_TYPE_NONE, PMAP_TYPE_BYTES), key, value, "value\n");
    check_line(tabbed(PMAP_TYPE_NONE, PMAP_TYPE_NONE), key, value, "\n");
    check_line(tabbed(PMAP_TYPE_BYTES, PMAP_TYPE_BYTES), nothing, nothing, "\t\n");
    check_line((struct pmap__formatter){PMAP_FORMAT_TEXT, PMAP_TYPE_BYTES, PMAP_TYPE_BYTES, ", ", 2}, key, value, "key, value\n");
    check_line((struct pmap__formatter){PMAP_FORMAT_TEXT, PMAP_TYPE_BYTES, PMAP_TYPE_BYTES, "", 0}, key, value, "keyvalue\n");
}

static void binary_has_sizes_and_raw_has_nothing_between(void)
{
    struct pmap__formatter f = {.format = PMAP_FORMAT_BINARY, .key = PMAP_TYPE_I64}; /* types are the text's business */
    struct pmap_view key = text_view("8 bytes."), value = text_view("value");
    char bytes[100];

    CHECK_INT(pmap__format_pair(&f, key, value, bytes), 29);
    CHECK(memcmp(bytes, "\10\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0008 bytes.value", 29) == 0);
    f.value = PMAP_TYPE_NONE;
    CHECK_INT(pmap__format_pair(&f, key, value, bytes), 24);
    CHECK(memcmp(bytes, "\10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0008 bytes.", 24) == 0);
    check_line((struct pmap__formatter){.format = PMAP_FORMAT_RAW}, key, value, "8 bytes.value");
    check_line((struct pmap__formatter){.format = PMAP_FORMAT_RAW, .key = PMAP_TYPE_NONE}, key, value, "value");
}

static void integers_are_written_as_printf_writes_them(void)
{
    for (int i = 0; i < 3000; i++) {
        int64_t number = i < INTEGERS ? integers[i] : i < 1100 ? i - 50 : (int64_t)random_bits() >> random_bits() % 64;
        uint64_t bits = (uint64_t)number;
        struct pmap_key8 key = pmap_key_i64(number), unsigned_key = pmap_key_u64(bits);
        char expected[100];
        snprintf(expected, sizeof expected, "%lld\t%lld\n", (long long)number, (long long)number);
        check_line(tabbed(PMAP_TYPE_I64, PMAP_TYPE_I64), view(&key, 8), view(&number, 8), expected);
        snprintf(expected, sizeof expected, "%llu\t%llu\n", (unsigned long long)bits, (unsigned long long)bits);
        check_line(tabbed(PMAP_TYPE_U64, PMAP_TYPE_U64), view(&unsigned_key, 8), view(&bits, 8), expected);
    }
}

static void a_number_that_has_not_8_bytes_is_written_as_bytes(void)
{
    for (int type = PMAP_TYPE_I64; type <= PMAP_TYPE_F64; type++)
        check_line(tabbed((enum pmap_type)type, (enum pmap_type)type), text_view("seven.."), text_view("and nine."),
                   "seven..\tand nine.\n");
}

static void check_double(double number, const char *expected)
{
    struct pmap_key8 key = pmap_key_f64(number);
    char line[100];
    snprintf(line, sizeof line, "%s=%s\n", expected, expected);
    check_line((struct pmap__formatter){PMAP_FORMAT_TEXT, PMAP_TYPE_F64, PMAP_TYPE_F64, "=", 1}, view(&key, 8), view(&number, 8), line);
}

static void doubles_have_the_fewest_digits_that_say_the_same(void)
{
    check_double(0.1, "0.1");
    check_double(0.1 + 0.2, "0.30000000000000004");
    check_double(-2.5, "-2.5");
    check_double(0.0, "0");
    check_double(-0.0, "-0");
    check_double(42, "42");
    check_double(-999999999999999, "-999999999999999");
    check_double(1e15, "1e+15");
    check_double(1e22, "1e+22");
    check_double(DBL_MAX, "1.7976931348623157e+308");
    check_double(-DBL_MIN, "-2.2250738585072014e-308");
    check_double(INFINITY, "inf");
    check_double(-INFINITY, "-inf");
    check_double(NAN, "nan");
    check_double(-(double)NAN, "nan");
}

static void decimal_point_is_a_point_in_every_locale(void)
{
    static const char *const names[] = {"de_DE.utf8", "fr_FR.utf8", "de_DE", "ps_AF.utf8"};
    size_t found = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_NUMERIC, names[i])) {
            check_double(-12.75, "-12.75");
            check_double(1.25e-100, "1.25e-100");
            found++;
        }
    setlocale(LC_NUMERIC, "C");
    if (found == 0)
        test_skip("no locale with another decimal point is installed");
}

static void doubles_survive_as_text(void)
{
    struct pmap__formatter f = tabbed(PMAP_TYPE_NONE, PMAP_TYPE_F64);
    for (int i = 0; i < 20000; i++) {
        double number = from_bits(random_bits());
        if (i % 3 == 0)
            number = i < REALS * 3 ? reals[i / 3] : (double)((int64_t)random_bits() >> random_bits() % 64) / 8;
        char line[100], shorter[100];
        size_t size = pmap__format_pair(&f, view("", 0), view(&number, 8), line);
        line[size] = '\0';
        if (isnan(number))
            continue;
        if (!CHECK_SAYING(bits_of(strtod(line, NULL)) == bits_of(number), "%a as %s", number, line))
            return;
        int precision = 15;
        do
            snprintf(shorter, sizeof shorter, "%.*g\n", precision, number);
        while (strtod(shorter, NULL) != number && ++precision <= 17);
        if (!CHECK_TEXT(line, shorter))
            return;
    }
}

static struct pmap__formatter any_formatter(void)
{
    uint64_t bits = random_bits();
    return (struct pmap__formatter){(enum pmap_format)(bits % 3), (enum pmap_type)(bits / 3 % 5), (enum pmap_type)(bits / 15 % 5),
                                    ",,,,,,,,", bits / 75 % 9};
}

static void size_is_what_is_written(void)
{
    uint64_t key[8], value[8];
    char bytes[300];
    for (int i = 0; i < 20000; i++) {
        struct pmap__formatter f = any_formatter();
        for (int k = 0; k < 8; k++) {
            key[k] = random_bits();
            value[k] = random_bits();
        }
        struct pmap_view k = view(key, i % 2 ? 8 : random_bits() % 65), v = view(value, i % 3 ? 8 : random_bits() % 65);
        size_t size = pmap__format_size(&f, k, v);
        memset(bytes, 0x55, sizeof bytes);
        if (!CHECK(pmap__format_pair(&f, k, v, bytes) == size && size < sizeof bytes && bytes[size] == 0x55))
            return;
    }
}

/* ---- A directory to write into ---- */

static char directory[200];

static const char *in_directory(const char *name)
{
    static char path[4][600];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", directory, name);
    return path[next];
}

static void begin_directory(void)
{
    const char *parent = getenv("PMAP_TEST_DIR");
    snprintf(directory, sizeof directory, "%s/output-XXXXXX", parent ? parent : "/tmp");
    CHECK(mkdtemp(directory) != NULL);
}

/* What is in the directory, and how many: "." and ".." do not count. */
static int entries(void)
{
    DIR *d = opendir(directory);
    int n = -2;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* Its entries are no more than these many; take it away with them. */
static void end_directory(int expected)
{
    CHECK_INT(entries(), expected);
    DIR *d = opendir(directory);
    const struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove(in_directory(entry->d_name));
    if (d)
        closedir(d);
    CHECK(rmdir(directory) == 0);
}

static const char *contents(const char *path)
{
    static char bytes[4096];
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(bytes, 1, sizeof bytes - 1, file) : 0;
    if (file == NULL)
        return NULL;
    fclose(file);
    bytes[size] = '\0';
    return bytes;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (CHECK(file != NULL)) {
        fputs(text, file);
        fclose(file);
    }
}

/* ---- Files, without a name and with one ---- */

static bool no_tmpfile;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, int) : 0;
    va_end(arguments);
    if (no_tmpfile && (flags & __O_TMPFILE)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_open(path, flags, mode);
}

/* Are files without a name to be had where the tests write? */
static bool has_tmpfile(void)
{
    int fd = no_tmpfile ? -1 : __real_open(directory, O_TMPFILE | O_WRONLY, 0666);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void both_ways(void (*body)(void))
{
    for (int without = 0; without < 2; without++) {
        no_tmpfile = without;
        begin_directory();
        body();
        no_tmpfile = false;
    }
}

static struct pmap__outfile *begun(const char *path, size_t buffer)
{
    struct pmap__outfile *file = NULL;
    struct pmap_error error = {0};
    enum pmap_status status = pmap__file_create(path, buffer, &file, &error);
    CHECK_SAYING(status == PMAP_OK, "%s", error.text);
    return status == PMAP_OK ? file : NULL;
}

static void put_text(struct pmap__outfile *file, const char *text)
{
    CHECK_STATUS(pmap__file_put(file, text, strlen(text), NULL), PMAP_OK);
}

static void commit_in_two_steps(void)
{
    const char *path = in_directory("a.txt");
    struct pmap__outfile *file = begun(path, 16);
    put_text(file, "one ");
    put_text(file, "two three four five six ");
    put_text(file, "seven");
    CHECK_INT(pmap__file_size(file), 33);
    CHECK_INT(entries(), has_tmpfile() ? 0 : 1);
    CHECK_STATUS(pmap__file_finish(file, NULL), PMAP_OK);
    CHECK(access(path, F_OK) != 0);
    CHECK_STATUS(pmap__file_commit(file, NULL), PMAP_OK);
    CHECK_TEXT(contents(path), "one two three four five six seven");
    end_directory(1);
}

static void file_has_its_name_when_it_is_committed(void)
{
    both_ways(commit_in_two_steps);
}

static void replace(void)
{
    const char *path = in_directory("a.txt");
    write_file(path, "former");
    FILE *reader = fopen(path, "r");
    char seen[10] = "";
    struct pmap__outfile *file = begun(path, 0);
    put_text(file, "new");
    CHECK_TEXT(contents(path), "former");
    CHECK_STATUS(pmap__file_finish(file, NULL), PMAP_OK);
    CHECK_TEXT(contents(path), "former");
    CHECK_STATUS(pmap__file_commit(file, NULL), PMAP_OK);
    CHECK_TEXT(contents(path), "new");
    /* whoever has the former file open goes on reading it: it was replaced, not overwritten */
    CHECK(reader && fgets(seen, sizeof seen, reader) != NULL);
    CHECK_TEXT(seen, "former");
    if (reader)
        fclose(reader);
    end_directory(1);
}

static void former_file_is_replaced_at_once(void)
{
    both_ways(replace);
}

static void abandon(void)
{
    const char *path = in_directory("a.txt");
    struct pmap__outfile *file = begun(path, 2);
    put_text(file, "text");
    pmap__file_abandon(file);
    CHECK_INT(entries(), 0);
    write_file(path, "former");
    file = begun(path, 2);
    put_text(file, "text");
    CHECK_STATUS(pmap__file_finish(file, NULL), PMAP_OK);
    pmap__file_abandon(file);
    CHECK_TEXT(contents(path), "former");
    end_directory(1);
    pmap__file_abandon(NULL);
}

static void nothing_is_left_of_an_abandoned_file(void)
{
    both_ways(abandon);
}

static void nothing_is_left_of_a_killed_process(void)
{
    begin_directory();
    const char *path = in_directory("a.txt");
    write_file(path, "former");
    if (!has_tmpfile()) {
        end_directory(1);
        test_skip("this file system has no files without a name");
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        struct pmap__outfile *file = begun(path, 1);
        put_text(file, "text");
        raise(SIGKILL);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_TEXT(contents(path), "former");
    end_directory(1);
}

static void mode(void)
{
    struct stat status;
    mode_t former = umask(027);
    CHECK_STATUS(pmap__file_commit(begun(in_directory("a.txt"), 0), NULL), PMAP_OK);
    umask(former);
    CHECK(stat(in_directory("a.txt"), &status) == 0 && (status.st_mode & 07777) == 0640 && status.st_size == 0);
    end_directory(1);
}

static void file_has_the_mode_of_a_new_file(void)
{
    both_ways(mode);
}

static void through_a_link(void)
{
    struct stat status;
    write_file(in_directory("real.txt"), "former");
    CHECK(symlink("real.txt", in_directory("link.txt")) == 0);
    struct pmap__outfile *file = begun(in_directory("link.txt"), 0);
    put_text(file, "new");
    CHECK_STATUS(pmap__file_commit(file, NULL), PMAP_OK);
    CHECK(lstat(in_directory("link.txt"), &status) == 0 && S_ISLNK(status.st_mode));
    CHECK_TEXT(contents(in_directory("real.txt")), "new");
    end_directory(2);
}

static void link_stays_a_link(void)
{
    both_ways(through_a_link);
}

static void long_name(void)
{
    char name[256];
    memset(name, 'x', 255);
    name[255] = '\0';
    for (int twice = 0; twice < 2; twice++)
        CHECK_STATUS(pmap__file_commit(begun(in_directory(name), 0), NULL), PMAP_OK);
    end_directory(1);
}

static void longest_name_of_all_is_fine(void)
{
    both_ways(long_name);
}

static void path_without_a_directory_is_here(void)
{
    char here[PATH_MAX];
    begin_directory();
    if (!CHECK(getcwd(here, sizeof here) && chdir(directory) == 0))
        return;
    for (int k = 0; k < 4; k++) {
        no_tmpfile = k % 2;
        pmap__file_abandon(begun("abandoned.txt", 0));
        CHECK_STATUS(pmap__file_commit(begun("a.txt", 0), NULL), PMAP_OK);
    }
    no_tmpfile = false;
    CHECK(chdir(here) == 0);
    CHECK(contents(in_directory("a.txt")) != NULL);
    end_directory(1);
}

static void check_refused(const char *path, const char *reason)
{
    struct pmap__outfile *file = NULL;
    char *aside = NULL;
    struct pmap_error error = {0};
    CHECK_STATUS(pmap__file_create(path, 10, &file, &error), PMAP_EINVAL);
    CHECK(file == NULL && strncmp(error.text, "pmap: output ", 13) == 0 && strstr(error.text, path));
    CHECK_NAMES(error.text, reason);
    CHECK_STATUS(pmap__shared_file_create(path, 10, &aside, &error), PMAP_EINVAL);
    CHECK(aside == NULL && strstr(error.text, path));
    CHECK_NAMES(error.text, reason);
}

static void refusals(void)
{
    write_file(in_directory("file"), "");
    check_refused(directory, "directory");
    check_refused(in_directory(""), "directory");
    check_refused(in_directory("new/"), "directory");
    check_refused(in_directory("no/such/a.txt"), in_directory("no/such"));
    check_refused(in_directory("file/a.txt"), "Not a directory");
    check_refused("", "No such file");
    check_refused("/dev/null", "regular");
    char name[300];
    memset(name, 'x', 256);
    name[256] = '\0';
    check_refused(in_directory(name), "too long");
    if (geteuid() != 0) {
        chmod(directory, 0500);
        check_refused(in_directory("a.txt"), "Permission denied");
        chmod(directory, 0700);
    }
    end_directory(1);
}

static void what_cannot_be_a_file_is_refused_at_once(void)
{
    both_ways(refusals);
}

static void full_disk(void)
{
    struct rlimit former, limit;
    static char block[1000];
    struct pmap_error error = {0};
    const char *path = in_directory("counts.txt");

    write_file(path, "former");
    getrlimit(RLIMIT_FSIZE, &former);
    limit = (struct rlimit){12345, former.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    struct pmap__outfile *file = begun(path, 3000);
    enum pmap_status status = PMAP_OK;
    for (int i = 0; i < 20 && status == PMAP_OK; i++)
        status = pmap__file_put(file, block, sizeof block, &error);
    enum pmap_status again = pmap__file_put(file, block, 1, NULL), finish = pmap__file_finish(file, NULL);
    enum pmap_status commit = pmap__file_commit(file, NULL);
    setrlimit(RLIMIT_FSIZE, &former);
    signal(SIGXFSZ, handler);

    char expected[700];
    snprintf(expected, sizeof expected, "pmap: output %s: %s (after 12345 bytes)", path, strerror(EFBIG));
    CHECK_STATUS(status, PMAP_EINVAL);
    CHECK_TEXT(error.text, expected);
    CHECK_STATUS(again, PMAP_EINVAL);
    CHECK_STATUS(finish, PMAP_EINVAL);
    CHECK_STATUS(commit, PMAP_EINVAL);
    CHECK_TEXT(contents(path), "former");
    end_directory(1);
}

static void full_disk_says_after_how_many_bytes_and_leaves_nothing(void)
{
    both_ways(full_disk);
}

static void commit_onto_a_directory(void)
{
    struct pmap_error error = {0};
    struct pmap__outfile *file = begun(in_directory("a.txt"), 0);
    CHECK(mkdir(in_directory("a.txt"), 0777) == 0);
    CHECK_STATUS(pmap__file_commit(file, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, in_directory("a.txt"));
    end_directory(1);
}

static void commit_that_fails_says_so_and_leaves_nothing(void)
{
    both_ways(commit_onto_a_directory);
}

static void pairs_of_any_size_are_written_in_order(void)
{
    static char large[5000], expected[40000], found[40000];
    const size_t buffers[] = {0, 1, 16, 4096, 100000};
    memset(large, 'L', sizeof large);
    begin_directory();
    for (size_t b = 0; b < sizeof buffers / sizeof *buffers; b++) {
        struct pmap__formatter f = tabbed(PMAP_TYPE_I64, PMAP_TYPE_BYTES);
        struct pmap__outfile *file = begun(in_directory("a.txt"), buffers[b]);
        size_t size = 0;
        for (int64_t i = 0; i < 30; i++) {
            struct pmap_key8 key = pmap_key_i64(i * i * i - 100);
            struct pmap_view value = view(large, (size_t)i % 7 == 3 ? sizeof large : (size_t)i);
            CHECK_STATUS(pmap__file_put_pair(file, &f, view(&key, 8), value, NULL), PMAP_OK);
            size += pmap__format_pair(&f, view(&key, 8), value, expected + size);
            CHECK_INT(pmap__file_size(file), size);
        }
        CHECK_STATUS(pmap__file_commit(file, NULL), PMAP_OK);
        FILE *reader = fopen(in_directory("a.txt"), "r");
        CHECK(reader && fread(found, 1, sizeof found, reader) == size && memcmp(found, expected, size) == 0);
        if (reader)
            fclose(reader);
    }
    end_directory(1);
}

/* ---- Shared files ---- */

static void several_writers_make_one_file(void)
{
    enum { WRITERS = 5, EACH = 20 };
    struct pmap__outfile *files[WRITERS];
    char *aside = NULL, word[16];

    begin_directory();
    const char *path = in_directory("a.txt");
    write_file(path, "former");
    if (!CHECK_STATUS(pmap__shared_file_create(path, 2 * WRITERS * EACH, &aside, NULL), PMAP_OK))
        return;
    CHECK_INT(entries(), 2);
    for (int w = 0; w < WRITERS; w++)
        CHECK_STATUS(pmap__shared_file_open(aside, 2 * WRITERS * EACH, (uint64_t)w * 2 * EACH, 7, &files[w], NULL), PMAP_OK);
    for (int i = 0; i < EACH; i++)
        for (int w = WRITERS - 1; w >= 0; w--) {
            snprintf(word, sizeof word, "%d%c", w, 'a' + i);
            put_text(files[w], word);
        }
    for (int w = 0; w < WRITERS; w++) {
        CHECK_INT(pmap__file_size(files[w]), 2 * EACH);
        CHECK_STATUS(pmap__file_finish(files[w], NULL), PMAP_OK);
        CHECK_STATUS(pmap__file_commit(files[w], NULL), PMAP_OK);
    }
    CHECK_TEXT(contents(path), "former");
    CHECK_STATUS(pmap__shared_file_commit(aside, path, NULL), PMAP_OK);
    free(aside);
    const char *text = contents(path);
    bool same = text && strlen(text) == 2 * WRITERS * EACH;
    for (int i = 0; same && i < WRITERS * EACH; i++)
        same = text[2 * i] == '0' + i / EACH && text[2 * i + 1] == 'a' + i % EACH;
    CHECK(same);
    end_directory(1);
}

static void shared_file_that_is_another_is_refused(void)
{
    struct pmap__outfile *file = NULL;
    struct pmap_error error = {0};
    char *aside = NULL;

    begin_directory();
    CHECK_STATUS(pmap__shared_file_create(in_directory("a.txt"), 100, &aside, NULL), PMAP_OK);
    CHECK_STATUS(pmap__shared_file_open(aside, 101, 0, 7, &file, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "file system");
    CHECK_STATUS(pmap__shared_file_open(in_directory("other"), 100, 0, 7, &file, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "No such file");
    CHECK(file == NULL);
    pmap__shared_file_abandon(aside);
    CHECK_INT(entries(), 0);
    CHECK_STATUS(pmap__shared_file_commit(aside, in_directory("a.txt"), &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "a.txt");
    free(aside);
    end_directory(0);
}

static void a_writer_that_fails_or_is_abandoned_only_closes(void)
{
    struct pmap__outfile *file = NULL;
    char *aside = NULL;

    begin_directory();
    CHECK_STATUS(pmap__shared_file_create(in_directory("a.txt"), 4, &aside, NULL), PMAP_OK);
    CHECK_STATUS(pmap__shared_file_open(aside, 4, 0, 7, &file, NULL), PMAP_OK);
    put_text(file, "lost");
    pmap__file_abandon(file);
    CHECK_INT(entries(), 1);
    pmap__shared_file_abandon(aside);
    free(aside);
    end_directory(0);
}

/* ---- Directories ---- */

static void directory_is_made_unless_it_is_there(void)
{
    struct pmap_error error = {0};
    begin_directory();
    CHECK_STATUS(pmap__directory_make(in_directory("d/"), NULL), PMAP_OK);
    CHECK_STATUS(pmap__directory_make(in_directory("d"), NULL), PMAP_OK);
    CHECK(access(in_directory("d/."), F_OK) == 0);
    write_file(in_directory("file"), "");
    CHECK_STATUS(pmap__directory_make(in_directory("file"), &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "Not a directory");
    CHECK_STATUS(pmap__directory_make(in_directory("no/such"), &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, in_directory("no/such"));
    end_directory(2);
}

static void only_parts_of_a_larger_output_are_removed(void)
{
    static const char *const names[] = {"part-00000", "part-00002", "part-00003x", "part-3", "part-0000004", "part-", "part-00003.txt",
                                        "xpart-00003", "part--00003", "part-18446744073709551616", ".part-00003"};
    static const char *const gone[] = {"part-00003", "part-00004", "part-99999", "part-100000"};
    struct pmap_error error = {0};
    int kept = (int)(sizeof names / sizeof *names);

    begin_directory();
    for (int i = 0; i < kept; i++)
        write_file(in_directory(names[i]), "");
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        write_file(in_directory(gone[i]), "");
    CHECK(mkdir(in_directory("part-00005"), 0777) == 0 && symlink("nowhere", in_directory("part-00006")) == 0);
    CHECK_STATUS(pmap__directory_trim(directory, 3, NULL), PMAP_OK);
    for (int i = 0; i < kept; i++)
        CHECK_SAYING(access(in_directory(names[i]), F_OK) == 0, "%s is gone", names[i]);
    end_directory(kept + 2);
    CHECK_STATUS(pmap__directory_trim(directory, 3, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, directory);
}

static const struct test tests[] = {TEST(bytes_of_integers_sort_like_the_integers),
                                    TEST(bytes_of_doubles_sort_like_the_doubles),
                                    TEST(what_has_not_8_bytes_is_0),
                                    TEST(combines_of_integers_are_those_of_c),
                                    TEST(min_and_max_of_doubles_have_the_same_bits_in_any_order),
                                    TEST(text_has_key_separator_value_newline),
                                    TEST(binary_has_sizes_and_raw_has_nothing_between),
                                    TEST(integers_are_written_as_printf_writes_them),
                                    TEST(a_number_that_has_not_8_bytes_is_written_as_bytes),
                                    TEST(doubles_have_the_fewest_digits_that_say_the_same),
                                    TEST(decimal_point_is_a_point_in_every_locale),
                                    TEST(doubles_survive_as_text),
                                    TEST(size_is_what_is_written),
                                    TEST(file_has_its_name_when_it_is_committed),
                                    TEST(former_file_is_replaced_at_once),
                                    TEST(nothing_is_left_of_an_abandoned_file),
                                    TEST(nothing_is_left_of_a_killed_process),
                                    TEST(file_has_the_mode_of_a_new_file),
                                    TEST(link_stays_a_link),
                                    TEST(longest_name_of_all_is_fine),
                                    TEST(path_without_a_directory_is_here),
                                    TEST(what_cannot_be_a_file_is_refused_at_once),
                                    TEST(full_disk_says_after_how_many_bytes_and_leaves_nothing),
                                    TEST(commit_that_fails_says_so_and_leaves_nothing),
                                    TEST(pairs_of_any_size_are_written_in_order),
                                    TEST(several_writers_make_one_file),
                                    TEST(shared_file_that_is_another_is_refused),
                                    TEST(a_writer_that_fails_or_is_abandoned_only_closes),
                                    TEST(directory_is_made_unless_it_is_there),
                                    TEST(only_parts_of_a_larger_output_are_removed),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
