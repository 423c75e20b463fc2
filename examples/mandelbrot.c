/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mandelbrot: a picture of the "elephant valley", one row per item.      ./mandelbrot [FILE.png [HEIGHT]]
 * The upper rows cross the black set, where a point takes all 1000 steps; the lowest ones cost a thirtieth. In one block
 * of rows per worker, most workers would soon sit idle. The pool hands out rows as workers become free.
 */
#include <math.h>
#include <png.h>
#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 1200, MAX_HEIGHT = 4000, STEPS = 1000 };
static const double centre_re = 0.2925, centre_im = 0.0145, pixel = 1e-5;
struct row { unsigned char rgb[WIDTH][3]; };    /* a result is anything that = can copy; an array is not */

/* Add the colour of one point of the plane: black if it never escapes, else by how soon it does. */
static void add_colour(double re, double im, double rgb[3])
{
    double x = 0, y = 0, next;
    int n;
    for (n = 0; n < STEPS && x * x + y * y < 1e4; n++, x = next) {
        next = x * x - y * y + re;
        y = 2 * x * y + im;
    }
    for (int c = 0; c < 3 && n < STEPS; c++) /* the inner log makes a smooth number of steps of n */
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

int main(int argc, char **argv)
{
    static double im[MAX_HEIGHT];               /* all that an item needs to know: where its row lies */
    static struct row rows[MAX_HEIGHT];
    png_image png = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB, .width = WIDTH};
    const char *file = argc > 1 ? argv[1] : "mandelbrot.png";
    int height = argc > 2 ? atoi(argv[2]) : 800, done = 0;
    struct pmap_pool *pool;
    if (height < 1 || height > MAX_HEIGHT || pmap_create(&pool) != PMAP_OK) {
        fprintf(stderr, "usage: mandelbrot [FILE.png [HEIGHT]], with 1 to %d rows\n", MAX_HEIGHT);
        return EXIT_FAILURE;
    }
    if (pool == NULL)
        return EXIT_SUCCESS;                    /* this rank has served, and is done */
    for (int i = 0; i < height; i++)
        im[i] = centre_im + (height / 2 - i) * pixel;
    png.height = (png_uint_32)height;
    if (pmap_map(pool, render, im, rows, (size_t)height) == PMAP_OK) /* it prints why if it fails */
        done = png_image_write_to_file(&png, file, 0, rows, 0, NULL);
    if (done)
        printf("%s: %d x %d, by %d threads\n", file, WIDTH, height, pmap_threads(pool));
    else
        fprintf(stderr, "mandelbrot: no picture in %s: %s\n", file, png.message);
    pmap_destroy(pool);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
