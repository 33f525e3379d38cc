/* Work shared by the threads that PyTorch has: its pool is OpenMP's, and a second one beside it would
   keep the same cores busy. The pool's entry is handed over when the library is loaded, so that nothing
   is linked against, and no runtime of OpenMP is loaded twice. */

#ifndef REGARD_THREADS_H
#define REGARD_THREADS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>

/* GOMP_parallel of GNU's runtime, which LLVM's and Intel's have too: every thread of a team calls the
   function once, and all have come back when it returns. */
typedef void regard_team(void (*member)(void *), void *data, unsigned threads, unsigned flags);

static regard_team *regard_pool = NULL;

/* Take the entry of the pool; without one, or with NULL, all work is done by the calling thread. */
void regard_threads(void *parallel) { regard_pool = (regard_team *)parallel; }

struct regard_work {
    void (*work)(void *data, long number);
    void *data;
    long count;
    alignas(64) atomic_long next; /* by itself in its cache line: all threads write it */
};

static void regard_member(void *argument) {
    struct regard_work *all = argument;
    long number;
    while ((number = atomic_fetch_add_explicit(&all->next, 1, memory_order_relaxed)) < all->count)
        all->work(all->data, number);
}

/* Call work(data, n) for each n in 0..count-1, in any order, by up to `threads` threads. Numbers are
   claimed one by one, so a team that is smaller than asked for does all of them too. */
static inline void in_parallel(long count, int threads, void (*work)(void *, long), void *data) {
    struct regard_work all = {.work = work, .data = data, .count = count};
    if (threads > count) threads = (int)count;
    if (regard_pool && threads > 1)
        regard_pool(regard_member, &all, (unsigned)threads, 0);
    else
        regard_member(&all);
}

#endif
