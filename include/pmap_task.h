/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The machinery behind PMAP_TASK, PMAP_ACTION, PMAP_BLOCK_TASK, PMAP_BYTES_TASK, PMAP_OP and the call macros. Included by pmap.h; nothing
 * in here is for users to name. For double power(double, int), PMAP_TASK(power, double, double, int) becomes
 *
 *     struct power_args { double _1; int _2; };                                     one call's arguments
 *     struct power_call { double *out; double _1; int _2; …options };               one pmap_apply
 *     static void power__run(size_t n, const void *args, void *results, size_t *at) the loop over a run of items
 *     static struct pmap_task power_task = { "power", "double (double, int)", … };
 *     static void power__register(void)                                             a constructor: before main
 *     static enum pmap_status power__apply(pool, struct power_call)
 *     static struct pmap_result *power__apply_async(pool, struct power_call)
 *
 * The loop stores the item's index to *at before each call, not through a volatile or an atomic: a compiler that
 * can see that the task calls nothing drops the stores and may vectorise the loop; one that cannot must have
 * stored the index before pmap_fail or pmap_item can look at it. (at must not be restrict: a compiler could
 * then move the store past the call.)
 */
#ifndef PMAP_TASK_H
#define PMAP_TASK_H

#if !defined(__GNUC__)
#error "pmap.h registers tasks with __attribute__((constructor)): use gcc, clang or a compiler that knows it"
#endif

#ifndef __cplusplus

/* sizeof *p, or 0 where p is a void pointer, which says nothing about its elements. p is not evaluated. */
#define PMAP__ELEMENT_SIZE(p)                                                         \
    (_Generic((p), void *: (size_t)0, const void *: (size_t)0, default: (size_t)1) * \
     sizeof *_Generic((p), void *: (char *)0, const void *: (char *)0, default: (p)))

/* This line of the program, as text. */
#define PMAP__HERE __FILE__ ":" PMAP__TEXT(__LINE__)
#define PMAP__TEXT(x) PMAP__TEXT_(x)
#define PMAP__TEXT_(x) #x

#define PMAP__CAT(a, b) PMAP__CAT_(a, b)
#define PMAP__CAT_(a, b) a##b
#define PMAP__COUNT(...) PMAP__COUNT_(__VA_ARGS__, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define PMAP__COUNT_(a, b, c, d, e, f, g, h, i, j, n, ...) n

/* Options that a pmap_apply may name after its arguments. */
#define PMAP__APPLY_OPTIONS                                                          \
    struct pmap_error *error; int retries; double retry_delay; int priority; uint64_t seed; \
    pmap_callback_fn *callback; pmap_error_callback_fn *error_callback; void *user; \
    const char *name; const char *where; double timeout; size_t max_rss;

/* The same, from a call struct c into a struct pmap_apply_options. */
#define PMAP__TAKE_OPTIONS(c)                                                                              \
    &(struct pmap_apply_options){.size = sizeof(struct pmap_apply_options), .error = (c).error,            \
                                 .retries = (c).retries, .retry_delay = (c).retry_delay,                   \
                                 .priority = (c).priority, .seed = (c).seed, .callback = (c).callback,     \
                                 .error_callback = (c).error_callback, .user = (c).user,                   \
                                 .name = (c).name, .where = (c).where,                                     \
                                 .timeout = (c).timeout, .max_rss = (c).max_rss}

/* By number of arguments: the members of the argument struct; an item's type; the arguments of a call, taken
 * from a struct s, and from the item at a[i]. An item of a task of one argument is that argument itself. */
#define PMAP__FIELDS_1(A) A _1;
#define PMAP__FIELDS_2(A, B) A _1; B _2;
#define PMAP__FIELDS_3(A, B, C) A _1; B _2; C _3;
#define PMAP__FIELDS_4(A, B, C, D) A _1; B _2; C _3; D _4;
#define PMAP__FIELDS_5(A, B, C, D, E) A _1; B _2; C _3; D _4; E _5;
#define PMAP__FIELDS_6(A, B, C, D, E, F) A _1; B _2; C _3; D _4; E _5; F _6;
#define PMAP__FIELDS_7(A, B, C, D, E, F, G) A _1; B _2; C _3; D _4; E _5; F _6; G _7;
#define PMAP__FIELDS_8(A, B, C, D, E, F, G, H) A _1; B _2; C _3; D _4; E _5; F _6; G _7; H _8;

#define PMAP__GIVE_1(s) (s)._1
#define PMAP__GIVE_2(s) PMAP__GIVE_1(s), (s)._2
#define PMAP__GIVE_3(s) PMAP__GIVE_2(s), (s)._3
#define PMAP__GIVE_4(s) PMAP__GIVE_3(s), (s)._4
#define PMAP__GIVE_5(s) PMAP__GIVE_4(s), (s)._5
#define PMAP__GIVE_6(s) PMAP__GIVE_5(s), (s)._6
#define PMAP__GIVE_7(s) PMAP__GIVE_6(s), (s)._7
#define PMAP__GIVE_8(s) PMAP__GIVE_7(s), (s)._8

/* to = {s._1, s._2 …}, where the bytes between members are 0, for a journal knows an item by all its bytes. */
#define PMAP__SET_1(to, s) (to)._1 = (s)._1;
#define PMAP__SET_2(to, s) PMAP__SET_1(to, s) (to)._2 = (s)._2;
#define PMAP__SET_3(to, s) PMAP__SET_2(to, s) (to)._3 = (s)._3;
#define PMAP__SET_4(to, s) PMAP__SET_3(to, s) (to)._4 = (s)._4;
#define PMAP__SET_5(to, s) PMAP__SET_4(to, s) (to)._5 = (s)._5;
#define PMAP__SET_6(to, s) PMAP__SET_5(to, s) (to)._6 = (s)._6;
#define PMAP__SET_7(to, s) PMAP__SET_6(to, s) (to)._7 = (s)._7;
#define PMAP__SET_8(to, s) PMAP__SET_7(to, s) (to)._8 = (s)._8;
#define PMAP__ARGS(f, N, s)                                \
    struct f##_args pmap__args;                            \
    __builtin_memset(&pmap__args, 0, sizeof pmap__args);   \
    PMAP__SET_##N(pmap__args, s)

#define PMAP__ITEM_1(f, A) A
#define PMAP__ITEM_2(f, ...) struct f##_args
#define PMAP__ITEM_3(f, ...) struct f##_args
#define PMAP__ITEM_4(f, ...) struct f##_args
#define PMAP__ITEM_5(f, ...) struct f##_args
#define PMAP__ITEM_6(f, ...) struct f##_args
#define PMAP__ITEM_7(f, ...) struct f##_args
#define PMAP__ITEM_8(f, ...) struct f##_args

#define PMAP__GIVE_ITEM_1(a, i) (a)[i]
#define PMAP__GIVE_ITEM_2(a, i) PMAP__GIVE_2((a)[i])
#define PMAP__GIVE_ITEM_3(a, i) PMAP__GIVE_3((a)[i])
#define PMAP__GIVE_ITEM_4(a, i) PMAP__GIVE_4((a)[i])
#define PMAP__GIVE_ITEM_5(a, i) PMAP__GIVE_5((a)[i])
#define PMAP__GIVE_ITEM_6(a, i) PMAP__GIVE_6((a)[i])
#define PMAP__GIVE_ITEM_7(a, i) PMAP__GIVE_7((a)[i])
#define PMAP__GIVE_ITEM_8(a, i) PMAP__GIVE_8((a)[i])

/* The loop begins at a cache line of code: where a short task is inlined into it, it would take twice the time if it
 * happened to lie across two. */

/* The pieces. OUT is the type of a pointer to a result, STATEMENT runs item pmap__i of pmap__a into pmap__r: names that
 * no task has. */
#define PMAP__STRUCTS(f, OUT, FIELDS) \
    struct f##_args { FIELDS };       \
    struct f##_call { OUT out; FIELDS PMAP__APPLY_OPTIONS };

#define PMAP__RUN(f, ITEM, RESULT, STATEMENT)                                                    \
    __attribute__((aligned(64))) static void f##__run(size_t pmap__n, const void *pmap__args, void *pmap__results, size_t *pmap__at) \
    {                                                                                            \
        ITEM const *pmap__a = pmap__args;                                                        \
        RESULT *pmap__r = pmap__results;                                                         \
        (void)pmap__a;                                                                           \
        (void)pmap__r;                                                                           \
        for (size_t pmap__i = 0; pmap__i < pmap__n; pmap__i++) {                                 \
            *pmap__at = pmap__i;                                                                 \
            STATEMENT;                                                                           \
        }                                                                                        \
    }

#define PMAP__REGISTER(f, SIGNATURE, N, BLOCK, BYTES, ARGS_SIZE, RESULT_SIZE)                             \
    static struct pmap_task f##_task = {.name = #f, .signature = SIGNATURE, .where = __FILE__, .arguments = N, .block = BLOCK, \
                                        .bytes = BYTES, .args_size = ARGS_SIZE, .result_size = RESULT_SIZE, .run = f##__run}; \
    __attribute__((constructor)) static void f##__register(void) { pmap_task_register(&f##_task); }

#define PMAP__APPLY(f, ARGS, ARGS_POINTER)                                                             \
    __attribute__((unused)) static enum pmap_status f##__apply(struct pmap_pool *pmap__pool, struct f##_call pmap__call) \
    {                                                                                                  \
        ARGS                                                                                           \
        return pmap_apply_with(pmap__pool, &f##_task, ARGS_POINTER, pmap__call.out, PMAP__TAKE_OPTIONS(pmap__call)); \
    }                                                                                                  \
    __attribute__((unused)) static struct pmap_result *f##__apply_async(struct pmap_pool *pmap__pool,  \
                                                                        struct f##_call pmap__call)    \
    {                                                                                                  \
        ARGS                                                                                           \
        return pmap_apply_async_with(pmap__pool, &f##_task, ARGS_POINTER, pmap__call.out,              \
                                     PMAP__TAKE_OPTIONS(pmap__call));                                  \
    }                                                                                                  \
    struct f##_call /* takes the semicolon that ends the declaration */

/* PMAP_TASK counts what it is given, the name and the result type among it. */
#define PMAP_TASK(...) PMAP__CAT(PMAP__TASK_, PMAP__COUNT(__VA_ARGS__))(__VA_ARGS__)
#define PMAP__TASK_2(f, R)                                              \
    struct f##_call { R *out; PMAP__APPLY_OPTIONS };                    \
    PMAP__RUN(f, char, R, pmap__r[pmap__i] = f())                                   \
    PMAP__REGISTER(f, #R " (void)", 0, false, false, 0, sizeof(R))             \
    PMAP__APPLY(f, , NULL)
#define PMAP__TASK_3(f, R, ...) PMAP__TASK_N(f, R, 1, __VA_ARGS__)
#define PMAP__TASK_4(f, R, ...) PMAP__TASK_N(f, R, 2, __VA_ARGS__)
#define PMAP__TASK_5(f, R, ...) PMAP__TASK_N(f, R, 3, __VA_ARGS__)
#define PMAP__TASK_6(f, R, ...) PMAP__TASK_N(f, R, 4, __VA_ARGS__)
#define PMAP__TASK_7(f, R, ...) PMAP__TASK_N(f, R, 5, __VA_ARGS__)
#define PMAP__TASK_8(f, R, ...) PMAP__TASK_N(f, R, 6, __VA_ARGS__)
#define PMAP__TASK_9(f, R, ...) PMAP__TASK_N(f, R, 7, __VA_ARGS__)
#define PMAP__TASK_10(f, R, ...) PMAP__TASK_N(f, R, 8, __VA_ARGS__)
#define PMAP__TASK_N(f, R, N, ...)                                                                      \
    PMAP__STRUCTS(f, R *, PMAP__FIELDS_##N(__VA_ARGS__))                                                \
    PMAP__RUN(f, PMAP__ITEM_##N(f, __VA_ARGS__), R, pmap__r[pmap__i] = f(PMAP__GIVE_ITEM_##N(pmap__a, pmap__i)))                \
    PMAP__REGISTER(f, #R " (" #__VA_ARGS__ ")", N, false, false, sizeof(PMAP__ITEM_##N(f, __VA_ARGS__)), sizeof(R)) \
    PMAP__APPLY(f, PMAP__ARGS(f, N, pmap__call), &pmap__args)

/* PMAP_ACTION likewise, without a result type. */
#define PMAP_ACTION(...) PMAP__CAT(PMAP__ACTION_, PMAP__COUNT(__VA_ARGS__))(__VA_ARGS__)
#define PMAP__ACTION_1(f)                              \
    struct f##_call { void *out; PMAP__APPLY_OPTIONS }; \
    PMAP__RUN(f, char, char, f())                      \
    PMAP__REGISTER(f, "void (void)", 0, false, false, 0, 0)   \
    PMAP__APPLY(f, , NULL)
#define PMAP__ACTION_2(f, ...) PMAP__ACTION_N(f, 1, __VA_ARGS__)
#define PMAP__ACTION_3(f, ...) PMAP__ACTION_N(f, 2, __VA_ARGS__)
#define PMAP__ACTION_4(f, ...) PMAP__ACTION_N(f, 3, __VA_ARGS__)
#define PMAP__ACTION_5(f, ...) PMAP__ACTION_N(f, 4, __VA_ARGS__)
#define PMAP__ACTION_6(f, ...) PMAP__ACTION_N(f, 5, __VA_ARGS__)
#define PMAP__ACTION_7(f, ...) PMAP__ACTION_N(f, 6, __VA_ARGS__)
#define PMAP__ACTION_8(f, ...) PMAP__ACTION_N(f, 7, __VA_ARGS__)
#define PMAP__ACTION_9(f, ...) PMAP__ACTION_N(f, 8, __VA_ARGS__)
#define PMAP__ACTION_N(f, N, ...)                                                                        \
    PMAP__STRUCTS(f, void *, PMAP__FIELDS_##N(__VA_ARGS__))                                              \
    PMAP__RUN(f, PMAP__ITEM_##N(f, __VA_ARGS__), char, f(PMAP__GIVE_ITEM_##N(pmap__a, pmap__i)))                     \
    PMAP__REGISTER(f, "void (" #__VA_ARGS__ ")", N, false, false, sizeof(PMAP__ITEM_##N(f, __VA_ARGS__)), 0)    \
    PMAP__APPLY(f, PMAP__ARGS(f, N, pmap__call), &pmap__args)

/* A block task is called once for a run of items. */
#define PMAP_BLOCK_TASK(f, R, T)                                                                 \
    PMAP__STRUCTS(f, R *, T _1;)                                                                 \
    static void f##__run(size_t pmap__n, const void *pmap__args, void *pmap__results, size_t *pmap__at) \
    {                                                                                            \
        *pmap__at = 0;                                                                           \
        f(pmap__n, pmap__args, pmap__results);                                                   \
    }                                                                                            \
    PMAP__REGISTER(f, #R "[] (" #T "[])", 1, true, false, sizeof(T), sizeof(R))                         \
    PMAP__APPLY(f, struct f##_args pmap__args = {pmap__call._1};, &pmap__args)

/* Items and results are struct pmap_bytes; the library sees to what they point to. */
#define PMAP_BYTES_TASK(f)                                                                       \
    PMAP__STRUCTS(f, struct pmap_bytes *, struct pmap_bytes _1;)                                 \
    PMAP__RUN(f, struct pmap_bytes, struct pmap_bytes, pmap__r[pmap__i] = f(pmap__a[pmap__i]))   \
    PMAP__REGISTER(f, "bytes (bytes)", 1, false, true, sizeof(struct pmap_bytes), sizeof(struct pmap_bytes)) \
    PMAP__APPLY(f, struct f##_args pmap__args = {pmap__call._1};, &pmap__args)

/* An operation for pmap_reduce: see fold in struct pmap_op. The eight runs are independent of each other, so that a
 * processor need not wait for one application before it begins the next; for large operands that matters less than the
 * room on the stack. */
#define PMAP_OP(f, T)                                                                            \
    static void f##__fold(size_t pmap__n, const void *pmap__values, void *pmap__acc)             \
    {                                                                                            \
        const T *pmap__v = pmap__values;                                                         \
        T *pmap__to = pmap__acc;                                                                 \
        if (sizeof(T) <= 64 && pmap__n >= 32) {                                                  \
            T pmap__a[sizeof(T) <= 64 ? 8 : 1];                                                  \
            size_t pmap__m = pmap__n / 8;                                                        \
            for (size_t pmap__i = 0; pmap__i < 8; pmap__i++)                                     \
                pmap__a[pmap__i] = pmap__v[pmap__i * pmap__m];                                   \
            for (size_t pmap__i = 1; pmap__i < pmap__m; pmap__i++) {                             \
                pmap__a[0] = f(pmap__a[0], pmap__v[pmap__i]);                                    \
                pmap__a[1] = f(pmap__a[1], pmap__v[pmap__m + pmap__i]);                          \
                pmap__a[2] = f(pmap__a[2], pmap__v[2 * pmap__m + pmap__i]);                      \
                pmap__a[3] = f(pmap__a[3], pmap__v[3 * pmap__m + pmap__i]);                      \
                pmap__a[4] = f(pmap__a[4], pmap__v[4 * pmap__m + pmap__i]);                      \
                pmap__a[5] = f(pmap__a[5], pmap__v[5 * pmap__m + pmap__i]);                      \
                pmap__a[6] = f(pmap__a[6], pmap__v[6 * pmap__m + pmap__i]);                      \
                pmap__a[7] = f(pmap__a[7], pmap__v[7 * pmap__m + pmap__i]);                      \
            }                                                                                    \
            for (size_t pmap__i = 8 * pmap__m; pmap__i < pmap__n; pmap__i++)                     \
                pmap__a[7] = f(pmap__a[7], pmap__v[pmap__i]);                                    \
            for (size_t pmap__i = 1; pmap__i < 8; pmap__i++)                                     \
                pmap__a[0] = f(pmap__a[0], pmap__a[pmap__i]);                                    \
            *pmap__to = pmap__a[0];                                                              \
        } else {                                                                                 \
            *pmap__to = pmap__v[0];                                                              \
            for (size_t pmap__i = 1; pmap__i < pmap__n; pmap__i++)                               \
                *pmap__to = f(*pmap__to, pmap__v[pmap__i]);                                      \
        }                                                                                        \
    }                                                                                            \
    static struct pmap_op f##_op = {.name = #f, .type = #T, .where = __FILE__, .size = sizeof(T), .fold = f##__fold}; \
    __attribute__((constructor)) static void f##__op_register(void) { pmap_op_register(&f##_op); } \
    struct pmap_op /* takes the semicolon that ends the declaration */

#endif
#endif
