/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mandelbrot: a picture of the "elephant valley", one row per item.      ./mandelbrot [FILE.png [HEIGHT]]
 *
 * The upper rows cross the black set, where a point takes all 1000 steps; the lowest ones leave it at once, for
 * a thirtieth of the time. Cut into one block of rows per worker, most workers would soon sit idle. The pool
 * hands out rows as workers become free, and needs no advice for it.
 */
#include <math.h>
#include <png.h>
#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 1200, MAX_HEIGHT = 4000, STEPS = 1000 };
static const double centre_re = 0.2925, centre_im = 0.0145, pixel = 1e-5;

/* A result is anything that = can copy: an array stands in a struct, and has a fixed length. */
struct row { unsigned char rgb[WIDTH][3]; };

/* Add the colour of one point of the plane: black if it never escapes, else by how soon it does. */
static void add_colour(double re, double im, double rgb[3])
{
    double x = 0, y = 0, next;
    int n = 0;

    for (; n < STEPS && x * x + y * y < 1e4; n++, x = next) {
        next = x * x - y * y + re;
        y = 2 * x * y + im;
    }
    for (int c = 0; c < 3 && n < STEPS; c++)    /* the inner log makes a smooth number of steps of n */
        rgb[c] += 0.5 - 0.5 * cos(3.142 * log(n + 1 - log2(log(x * x + y * y) / 2)) + 3.456 + 0.754 * c);
}

static struct row render(double im)
{
    struct row row;

    for (int i = 0; i < WIDTH; i++) {
        double re = centre_re + (i - WIDTH / 2) * pixel, rgb[3] = {0};

        for (int s = 0; s < 4; s++)             /* four points per pixel: smooth edges */
            add_colour(re + s % 2 * pixel / 2, im - s / 2 * pixel / 2, rgb);
        for (int c = 0; c < 3; c++)
            row.rgb[i][c] = (unsigned char)(255 * rgb[c] / 4);
    }
    return row;
}
PMAP_TASK(render, struct row, double);

static int draw(struct pmap_pool *pool, const char *file, int height)
{
    static double im[MAX_HEIGHT];               /* all that an item needs to know: where its row lies */
    static struct row rows[MAX_HEIGHT];
    png_image png = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB, .width = WIDTH};

    if (height < 1 || height > MAX_HEIGHT) {
        fprintf(stderr, "usage: mandelbrot [FILE.png [HEIGHT]], with 1 to %d rows\n", MAX_HEIGHT);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < height; i++)
        im[i] = centre_im + (height / 2 - i) * pixel;
    if (pmap_map(pool, render, im, rows, (size_t)height) != PMAP_OK)
        return EXIT_FAILURE;                    /* it has printed why */

    png.height = (png_uint_32)height;
    if (!png_image_write_to_file(&png, file, 0, rows, 0, NULL)) {
        fprintf(stderr, "mandelbrot: cannot write %s: %s\n", file, png.message);
        return EXIT_FAILURE;
    }
    printf("%s: %d x %d, by %d threads of %d ranks\n", file, WIDTH, height, pmap_threads(pool), pmap_ranks(pool));
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct pmap_pool *pool;
    int status = EXIT_SUCCESS;

    if (pmap_create(&pool) != PMAP_OK)
        return EXIT_FAILURE;
    if (pool)
        status = draw(pool, argc > 1 ? argv[1] : "mandelbrot.png", argc > 2 ? atoi(argv[2]) : 800);
    pmap_destroy(pool);                         /* NULL, on a rank that has served, is fine */
    return status;
}
