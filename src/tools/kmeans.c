/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap-kmeans: k-means clustering (Lloyd 1982). Each iteration is one map-reduce over all points with the centres as its argument: map
 * adds the points up that are nearest to each centre, reduce adds those sums.
 *
 * Sums of doubles depend on where the input is cut. So coordinates are added as integers: a coordinate is rounded to a multiple of a
 * unit, the largest coordinate's power of two by 2^56. Sums of those are exact in any order, and the centres have the same bits on any
 * number of threads and ranks.
 *
 * The first map-reduce, the survey, finds that largest coordinate, and K points to begin with: those whose random numbers are the
 * smallest.
 */
#include "tools/tool.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_SIZE = 65536, BLOCK = 4096 }; /* bytes of a line of text; points that are generated together */

/* What goes to every rank, and behind it the centres: all first coordinates, all second ones, … so that distances to all centres are
 * computed side by side. */
struct job {
    uint64_t k, dim;     /* dim 0: not known yet */
    uint64_t kind;       /* enum kind */
    uint64_t seed, n;    /* of generated points */
    double scale;        /* 1 / unit */
    double centres[];    /* dim x k */
};

enum kind { TEXT, BINARY, GENERATED };

/* ---- Points ---- */

/* The points of a piece, one after the other. */
struct points {
    const struct job *job;
    const char *at, *end;
    uint64_t index;      /* of the last point: its place in the file, in bytes, or its number, if it is generated */
    uint64_t first;      /* index of the piece */
    const char *begin;
    size_t dim;          /* of the last point */
    double *x, *room;    /* its coordinates */
    size_t left;         /* of a block that is being generated, */
    struct pmap_random random;
    char line[LINE_MAX_SIZE];
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == ',' || c == ';' || c == '\r';
}

/* Numbers with blanks, commas or semicolons between them; how many. */
static size_t parse_line(struct points *p, char *line)
{
    size_t n = 0;

    for (char *at = line;; n++) {
        while (is_blank(*at))
            at++;
        if (*at == 0)
            return n;
        char *end;
        p->room[n] = strtod(at, &end);
        if (end == at || !(*end == 0 || is_blank(*end)) || !isfinite(p->room[n])) {
            pmap_fail(1, "byte %llu: '%.40s' is no number", (unsigned long long)(p->index + (uint64_t)(at - line)), at);
            return 0;
        }
        at = end;
    }
}

/* Each number takes two bytes of its line at least, so there is room for as many as a line has. */
static bool next_line(struct points *p)
{
    for (p->dim = 0; p->dim == 0 && p->at < p->end;) {
        const char *newline = memchr(p->at, '\n', (size_t)(p->end - p->at)), *end = newline ? newline : p->end;
        size_t size = (size_t)(end - p->at);
        p->index = p->first + (uint64_t)(p->at - p->begin);
        if (size >= sizeof p->line || memchr(p->at, 0, size)) {
            pmap_fail(1, "byte %llu: that is no line of numbers", (unsigned long long)p->index);
            return false;
        }
        memcpy(p->line, p->at, size);
        p->line[size] = 0;
        p->at = end + (newline != NULL);
        p->dim = parse_line(p, p->line);
        if (p->dim == 0 && strspn(p->line, " \t,;\r") < size)
            return false; /* it has failed */
    }
    p->x = p->room;
    if (p->dim && p->job->dim && p->dim != p->job->dim) {
        pmap_fail(1, "byte %llu: a point of %zu numbers among points of %zu", (unsigned long long)p->index, p->dim, (size_t)p->job->dim);
        return false;
    }
    return p->dim > 0;
}

static bool next_binary(struct points *p)
{
    if (p->at == p->end)
        return false;
    p->index = p->first + (uint64_t)(p->at - p->begin);
    p->dim = p->job->dim;
    memcpy(p->room, p->at, p->dim * sizeof(double));
    p->x = p->room;
    p->at += p->dim * sizeof(double);
    for (size_t j = 0; j < p->dim; j++)
        if (!isfinite(p->x[j])) {
            pmap_fail(1, "byte %llu: a coordinate is not finite", (unsigned long long)p->index);
            return false;
        }
    return true;
}

/* Round K places in [0, 10)^dim, with deviation 1. The numbers of a seed lie side by side: 2^40 streams each. */
static bool next_generated(struct points *p)
{
    if (p->left == 0) {
        if (p->at == p->end)
            return false;
        uint64_t block;
        memcpy(&block, p->at, sizeof block);
        p->at += sizeof block;
        p->index = block * BLOCK - 1;
        p->left = p->job->n - block * BLOCK < BLOCK ? (size_t)(p->job->n - block * BLOCK) : BLOCK;
        p->random = pmap_random_stream((size_t)((p->job->seed << 40) + p->job->k + block));
    }
    p->left--;
    p->index++;
    p->dim = p->job->dim;
    p->x = p->room;
    struct pmap_random place = pmap_random_stream((size_t)((p->job->seed << 40) + pmap_random_below(&p->random, p->job->k)));
    for (size_t j = 0; j < p->dim; j++)
        p->x[j] = 10 * pmap_random_uniform(&place) + pmap_random_normal(&p->random);
    return true;
}

static bool next_point(struct points *p)
{
    switch ((enum kind)p->job->kind) {
    case TEXT: return next_line(p);
    case BINARY: return next_binary(p);
    case GENERATED: break;
    }
    return next_generated(p);
}

/* NULL: the split has failed. */
static struct points *points_open(struct pmap_view piece, const struct pmap_emitter *out)
{
    struct points *p = malloc(sizeof *p);
    const struct job *job = pmap_emitter_arg(out).data;
    size_t dim = job->kind == TEXT ? LINE_MAX_SIZE / 2 + 1 : (size_t)job->dim;
    double *room = malloc(dim * sizeof *room);

    if (p == NULL || room == NULL) {
        pmap_fail(1, "no memory for a point of %zu numbers", dim);
        free(room);
        free(p);
        return NULL;
    }
    p->job = job;
    p->begin = p->at = piece.data;
    p->end = p->at + piece.size;
    p->first = pmap_emitter_source(out).offset;
    p->room = room;
    p->left = 0;
    return p;
}

static void points_close(struct points *p)
{
    free(p->room);
    free(p);
}

/* ---- The survey ---- */

/* A candidate for a first centre. */
struct draw {
    uint64_t number;
    size_t dim;
    double *x;
};

/* Keep the K smallest, sorted. False: no memory. */
static bool draw(struct draw *draws, size_t *n, size_t k, uint64_t number, const struct points *p)
{
    if (*n == k && number >= draws[k - 1].number)
        return true;
    double *x = malloc(p->dim * sizeof *x);
    if (x == NULL)
        return false;
    memcpy(x, p->x, p->dim * sizeof *x);
    if (*n == k)
        free(draws[--*n].x);
    size_t i = (*n)++;
    for (; i > 0 && draws[i - 1].number > number; i--)
        draws[i] = draws[i - 1];
    draws[i] = (struct draw){number, p->dim, x};
    return true;
}

/* A random number that belongs to a point, wherever it is read. */
static uint64_t number_of(const struct pmap_source_of *source, const struct points *p)
{
    struct pmap_random random = pmap_random_stream((size_t)(p->index + ((uint64_t)source->file << 44) + (p->job->seed << 40 ^ UINT64_C(1) << 63)));
    return pmap_random_bits(&random);
}

/* The largest coordinate has the empty key, which comes first; the draws come in order. */
static void survey_piece(struct pmap_view piece, struct pmap_emitter *out)
{
    struct pmap_source_of source = pmap_emitter_source(out);
    struct points *p = points_open(piece, out);
    size_t k = p ? (size_t)p->job->k : 0, n = 0;
    struct draw *draws = calloc(k + 1, sizeof *draws);
    bool well = p && draws;
    double largest = 0;

    while (well && next_point(p)) {
        for (size_t j = 0; j < p->dim; j++)
            largest = fmax(largest, fabs(p->x[j]));
        well = draw(draws, &n, k, number_of(&source, p), p);
    }
    if (p && !well)
        pmap_fail(1, "no memory for %zu centres", k);
    pmap_emit_f64(out, NULL, 0, largest);
    for (size_t i = 0; i < n; i++) {
        struct pmap_key8 key = pmap_key_u64(draws[i].number);
        pmap_emit(out, &key, sizeof key, draws[i].x, draws[i].dim * sizeof(double));
        free(draws[i].x);
    }
    free(draws);
    if (p)
        points_close(p);
}
PMAP_MAPREDUCE(kmeans_survey, .map = survey_piece);

/* ---- An iteration ---- */

/* The points of one centre. A sum is high * 2^32 + low units; of n points |high| is at most n * 2^24 and low below n * 2^32, less what
 * has been carried. */
struct sum {
    int64_t high;
    uint64_t low;
};
struct part {
    uint64_t n;
    struct sum sums[]; /* dim */
};
#define POINTS_MAX (UINT64_C(1) << 38)

static size_t part_size(const struct job *job)
{
    return sizeof(struct part) + (size_t)job->dim * sizeof(struct sum);
}

static void carry(struct sum *sum)
{
    sum->high += (int64_t)(sum->low >> 32);
    sum->low &= UINT32_MAX;
}

/* The nearest centre; of equals the first. distances is room for k. */
static size_t nearest(const struct job *job, const double *x, double *restrict distances)
{
    size_t k = (size_t)job->k, best = 0;

    for (size_t c = 0; c < k; c++)
        distances[c] = 0;
    for (size_t j = 0; j < job->dim; j++)
        for (size_t c = 0; c < k; c++) {
            double d = x[j] - job->centres[j * k + c];
            distances[c] += d * d;
        }
    for (size_t c = 1; c < k; c++)
        if (distances[c] < distances[best])
            best = c;
    return best;
}

static void add_point(const struct job *job, const double *x, struct part *part)
{
    part->n++;
    for (size_t j = 0; j < job->dim; j++) {
        int64_t units = llrint(x[j] * job->scale);
        part->sums[j].high += units >> 32;
        part->sums[j].low += (uint64_t)units & UINT32_MAX;
    }
}

static void assign(struct pmap_view piece, struct pmap_emitter *out)
{
    struct points *p = points_open(piece, out);
    if (p == NULL)
        return;
    const struct job *job = p->job;
    size_t size = part_size(job), k = (size_t)job->k;
    char *parts = calloc(k, size);
    double *distances = malloc(k * sizeof *distances);

    if (parts == NULL || distances == NULL)
        pmap_fail(1, "no memory for %zu sums", k);
    while (parts && distances && next_point(p))
        add_point(job, p->x, (struct part *)(void *)(parts + nearest(job, p->x, distances) * size));
    for (size_t c = 0; parts && c < k; c++) {
        struct part *part = (struct part *)(void *)(parts + c * size);
        struct pmap_key8 key = pmap_key_u64(c);
        for (size_t j = 0; j < job->dim; j++)
            carry(&part->sums[j]);
        if (part->n)
            pmap_emit(out, &key, sizeof key, part, size);
    }
    free(distances);
    free(parts);
    points_close(p);
}

static void add_parts(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    const struct job *job = pmap_emitter_arg(out).data;
    struct part *total = calloc(1, part_size(job));
    struct pmap_view value;

    if (total == NULL) {
        pmap_fail(1, "no memory for a sum");
        return;
    }
    while (pmap_values_next(values, &value)) {
        const struct part *part = value.data;
        total->n += part->n;
        for (size_t j = 0; j < job->dim; j++) {
            total->sums[j].high += part->sums[j].high;
            total->sums[j].low += part->sums[j].low;
            carry(&total->sums[j]);
        }
    }
    pmap_emit(out, key.data, key.size, total, part_size(job));
    free(total);
}
PMAP_MAPREDUCE(kmeans, .map = assign, .reduce = add_parts);

/* ---- The command ---- */

static size_t k, dim, iterations = 100, generate, seed;
static double tolerance = 1e-6;
static bool binary;
static const char *start;

/* All that the root has. */
struct run {
    struct pmap_pool *pool;
    struct pmap_mapreduce_options o; /* input, and how it is read */
    struct job *job;
    size_t job_size;
    double largest;
    size_t centres;   /* how many there are */
    uint64_t *sizes;  /* of clusters */
    double *next;     /* their centres, as in the job */
    uint64_t n;       /* points, of the last iteration */
    bool no_memory;
};

static struct job *job_create(size_t dimensions, size_t *size)
{
    struct job *job = NULL;

    if (k <= (SIZE_MAX - sizeof *job) / sizeof(double) / (dimensions + 1)) {
        *size = sizeof *job + k * dimensions * sizeof(double);
        job = calloc(1, *size);
    }
    if (job)
        *job = (struct job){.k = k, .dim = dimensions, .kind = generate ? GENERATED : binary ? BINARY : TEXT, .seed = seed, .n = generate};
    return job;
}

/* Dimensions are known: make room. False: no memory. */
static bool set_dimensions(struct run *run, size_t dimensions)
{
    free(run->job);
    free(run->next);
    run->job = job_create(dimensions, &run->job_size);
    run->next = run->job ? calloc(k, dimensions * sizeof(double)) : NULL;
    run->no_memory = run->next == NULL;
    return !run->no_memory;
}

static void set_centre(struct run *run, const double *x)
{
    for (size_t j = 0; j < run->job->dim; j++)
        run->job->centres[j * k + run->centres] = x[j];
    run->centres++;
}

static bool take_survey(void *user, struct pmap_view key, struct pmap_view value)
{
    struct run *run = user;

    if (key.size == 0) {
        run->largest = fmax(run->largest, pmap_view_f64(value));
        return true;
    }
    if (start)
        return false;
    size_t dimensions = value.size / sizeof(double);
    if (run->next == NULL && !set_dimensions(run, dimensions))
        return false;
    if (dimensions != run->job->dim)
        return true; /* the first iteration will say where it is */
    set_centre(run, value.data);
    return run->centres < k;
}

/* The centres that a file has, a line of numbers each. The number of the first's are the dimensions. */
static bool read_start(struct run *run)
{
    FILE *file = fopen(start, "r");
    struct points *p = calloc(1, sizeof *p);
    struct job any = {.kind = TEXT, .dim = dim};
    bool well = file && p && (p->room = malloc((LINE_MAX_SIZE / 2 + 1) * sizeof(double))) != NULL;

    if (!file)
        tool_fail("--start: %s cannot be read", start);
    while (well && run->centres < k && fgets(p->line, sizeof p->line, file)) {
        p->job = &any;
        p->line[strcspn(p->line, "\n")] = 0;
        size_t n = parse_line(p, p->line);
        if (n == 0)
            continue;
        if (run->next == NULL)
            well = set_dimensions(run, n);
        else if (n != run->job->dim)
            break;
        if (well)
            set_centre(run, p->room);
    }
    if (well && run->centres < k)
        tool_fail("--start: %s has no %zu points of as many numbers", start, k);
    well = well && run->centres == k;
    free(p ? p->room : NULL);
    free(p);
    if (file)
        fclose(file);
    return well;
}

static bool survey(struct run *run)
{
    struct pmap_mapreduce_options o = run->o;

    o.arg = run->job;
    o.arg_size = run->job_size;
    o.deliver = take_survey;
    o.user = run;
    if (start && !read_start(run))
        return false;
    if (start) {
        o.arg = run->job;
        o.arg_size = run->job_size;
    }
    if (!tool_mapreduce(run->pool, &kmeans_survey_mapreduce, o))
        return false;
    if (run->no_memory)
        tool_fail("no memory for %zu centres", k);
    else if (run->centres < k)
        tool_fail("there are only %zu points for %zu clusters", run->centres, k);
    return run->centres == k;
}

static bool take_part(void *user, struct pmap_view key, struct pmap_view value)
{
    struct run *run = user;
    const struct part *part = value.data;
    size_t c = (size_t)pmap_u64_key(key);

    run->sizes[c] = part->n;
    run->n += part->n;
    for (size_t j = 0; j < run->job->dim; j++) {
        double sum = ldexp((double)part->sums[j].high, 32) + (double)part->sums[j].low;
        run->next[j * k + c] = sum / (double)part->n / run->job->scale;
    }
    return true;
}

/* How far the centre that moved most has moved; centres without points stay. */
static double move(struct run *run)
{
    double most = 0;

    for (size_t c = 0; c < k; c++) {
        double square = 0;
        for (size_t j = 0; j < run->job->dim && run->sizes[c]; j++) {
            double d = run->next[j * k + c] - run->job->centres[j * k + c];
            square += d * d;
            run->job->centres[j * k + c] = run->next[j * k + c];
        }
        most = fmax(most, sqrt(square));
    }
    return most;
}

static bool iterate(struct run *run, double *moved)
{
    struct pmap_mapreduce_options o = run->o;

    o.arg = run->job;
    o.arg_size = run->job_size;
    o.deliver = take_part;
    o.user = run;
    o.partitions = k < 64 ? k : 64;
    memset(run->sizes, 0, k * sizeof *run->sizes);
    run->n = 0;
    if (!tool_mapreduce(run->pool, &kmeans_mapreduce, o))
        return false;
    if (run->n > POINTS_MAX) {
        tool_fail("more than %llu points cannot be added exactly", (unsigned long long)POINTS_MAX);
        return false;
    }
    *moved = move(run);
    return true;
}

/* As few digits as say the same number again. */
static void print_number(FILE *text, double number)
{
    char digits[40];

    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number)
            break;
    }
    fputs(digits, text);
}

static void print_clusters(const struct run *run, FILE *text)
{
    for (size_t c = 0; c < k; c++) {
        fprintf(text, "%llu\t", (unsigned long long)run->sizes[c]);
        for (size_t j = 0; j < run->job->dim; j++) {
            if (j > 0)
                fputc(' ', text);
            print_number(text, run->job->centres[j * k + c]);
        }
        fputc('\n', text);
    }
}

static bool cluster(struct run *run)
{
    double moved = INFINITY;
    int exponent = 0;

    if (!survey(run))
        return false;
    frexp(run->largest, &exponent); /* it is below 2^exponent */
    run->job->scale = ldexp(1, 56 - (exponent > -900 ? exponent : -900));
    for (size_t i = 1; i <= iterations && moved > tolerance; i++) {
        if (!iterate(run, &moved))
            return false;
        if (tool_verbose())
            fprintf(stderr, "pmap-kmeans: iteration %zu: centres moved by up to %g\n", i, moved);
    }
    return true;
}

/* The input: files, or the numbers of blocks to be generated. */
static bool set_input(struct run *run, const char *const paths[], uint64_t **blocks)
{
    size_t n = generate / BLOCK + (generate % BLOCK > 0);

    if (!generate) {
        run->o.input = PMAP_PATHS(paths);
        run->o.record_size = binary ? dim * sizeof(double) : 0;
        return true;
    }
    *blocks = malloc(n * sizeof **blocks);
    for (size_t b = 0; *blocks && b < n; b++)
        (*blocks)[b] = b;
    run->o.input = PMAP_RECORDS(*blocks, n);
    run->o.split_size = 4 * sizeof **blocks;
    return *blocks != NULL;
}

static int run(struct pmap_pool *pool, const char *const paths[])
{
    struct run run = {.pool = pool};
    size_t dimensions = dim ? dim : generate ? 2 : 0;
    uint64_t *blocks = NULL;
    FILE *text = tool_text_open();

    if (text == NULL)
        return 1;
    run.job = job_create(dimensions, &run.job_size);
    run.sizes = calloc(k, sizeof *run.sizes);
    bool well = run.job && run.sizes && set_input(&run, paths, &blocks);
    if (!well)
        tool_fail("no memory for %zu clusters", k);
    well = well && cluster(&run);
    if (well)
        print_clusters(&run, text);
    well = tool_text_close(text, well) && well;
    free(blocks);
    free(run.next);
    free(run.sizes);
    free(run.job);
    return well ? 0 : 1;
}

static const char *check(size_t operands)
{
    if (k == 0)
        return "-k: say how many clusters";
    if (generate && operands)
        return "--generate makes points, there can be no files";
    if (!generate && operands == 0)
        return "no files";
    return binary && dim == 0 ? "--binary needs --dim" : NULL;
}

static const struct tool_option options[] = {
    {"clusters", 'k', TOOL_COUNT, &k, "K", "how many clusters", 1, 1e5},
    {"dim", 'd', TOOL_COUNT, &dim, "DIM", "numbers of a point (as the first point has)", 1, 32768},
    {"binary", 'b', TOOL_FLAG, &binary, NULL, "points are doubles as the machine has them, DIM each", 0, 0},
    {"start", 0, TOOL_TEXT, &start, "FILE", "the first centres, lines of numbers (K of the points)", 0, 0},
    {"tolerance", 0, TOOL_REAL, &tolerance, "T", "end when no centre moves more than that (1e-6)", 0, DBL_MAX},
    {"iterations", 0, TOOL_COUNT, &iterations, "N", "end after so many iterations (100)", 1, 1e9},
    {"generate", 0, TOOL_COUNT, &generate, "N", "cluster N random points round K places, no files", 1, 1e11},
    {"seed", 0, TOOL_COUNT, &seed, "S", "of the first centres and of --generate (0)", 0, 1e6},
    {0},
};

int main(int argc, char *argv[])
{
    static const struct tool tool = {
        .name = "pmap-kmeans", .usage = "[OPTION]... -k K FILE... | --generate N", .options = options, .check = check, .run = run,
        .failure = 1,
        .about = "Cluster points round K centres. A point is a line of numbers. Prints for each cluster how many points it\n"
                 "has, tab, its centre; the same digits on any number of threads and ranks."};
    return tool_main(&tool, argc, argv);
}
