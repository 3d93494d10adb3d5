/* How fast steps are, as measured, and what follows from it for a step that both reads prompts and generates. */
#include "session/scheduler_internal.h"

enum { LEAST_SHARE = 16 };

static const double weight = 1.0 / 8;      /* of a new measurement */
static const double prompt_share = 0.9;    /* of the speed of prompts that a mixed step must keep */
static const double first_share = 1.0 / 4; /* of a chunk, before anything is known */

static void average(double *mean, double x) {
    *mean = *mean > 0 ? *mean + weight * (x - *mean) : x;
}

void scheduler_measure(struct qm_scheduler *s, int64_t known, int64_t generated, double seconds) {
    struct qm_scheduler_stats *t = &s->stats;
    struct rates *r = &s->rates;
    t->steps++;
    t->prompt_tokens += known;
    if (!known) {
        t->decode_steps++;
        t->decode_seconds += seconds;
        average(&r->decode_step, seconds);
        average(&r->decode_tokens, (double)generated);
        if (seconds > 0)
            average(&r->decode_rate, (double)generated / seconds);
        return;
    }
    t->prefill_steps += !generated;
    *(generated ? &t->mixed_seconds : &t->prefill_seconds) += seconds;
    if (known >= LEAST_SHARE || known * 2 > s->chunk) {
        double added = (seconds - r->decode_step) / (double)known;
        average(&r->prompt_token, added > 0 ? added : 0);
    }
    if (seconds > 0)
        average(&r->prefill_rate, (double)known / seconds);
}

/* A step takes a + n c seconds for n known tokens beside the new ones: a to read the weights once, c to compute a
 * token. Prompts advance n / (a + n c) tokens a second. That is at least the share p of what a whole chunk of C gives
 * from n = p C a / (a + (1 - p) C c) on: beyond it those that generate would wait and prompts gain little. */
int64_t scheduler_prefill_tokens(const struct qm_scheduler *s) {
    const struct rates *r = &s->rates;
    double chunk = (double)s->chunk, n = first_share * chunk;
    if (s->o.prefill_tokens)
        return s->o.prefill_tokens;
    if (r->decode_step > 0 && r->prompt_token > 0)
        n = prompt_share * chunk * r->decode_step / (r->decode_step + (1 - prompt_share) * chunk * r->prompt_token);
    return n < LEAST_SHARE ? LEAST_SHARE : (int64_t)n;
}
