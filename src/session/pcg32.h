/* PCG32, the random generator of sampling: 64 bits of state, 32-bit outputs (XSH-RR), a stream number.
 * Source: M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for
 * Random Number Generation", 2014. Not for secrets. A generator belongs to one thread. */
#ifndef QM_SESSION_PCG32_H
#define QM_SESSION_PCG32_H

#include <stdint.h>

struct qm_pcg32 {
    uint64_t state, increment;
};

static inline uint32_t qm_pcg32_next(struct qm_pcg32 *g) {
    uint64_t old = g->state;
    g->state = old * 6364136223846793005u + g->increment;
    uint32_t x = (uint32_t)(((old >> 18) ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return x >> turn | x << (-turn & 31);
}

/* The state begins at 0, takes a step, has the seed added and takes another; the increment is 2 stream + 1. */
static inline void qm_pcg32_seed(struct qm_pcg32 *g, uint64_t seed, uint64_t stream) {
    *g = (struct qm_pcg32){.state = 0, .increment = stream << 1 | 1};
    qm_pcg32_next(g);
    g->state += seed;
    qm_pcg32_next(g);
}

#endif
