/* Shared prefixes are found by comparing each prompt with the last ones before it. */
#include "batch/expect.h"

#include <stdlib.h>
#include <string.h>

static int64_t common(const struct qm_ids *a, const int32_t *b, int64_t n) {
    int64_t i = 0;
    while (i < n && i < (int64_t)a->len && a->data[i] == b[i])
        i++;
    return i;
}

/* How much of the prompt was there before, in whole pages; keeps it for those that follow. */
static int share(struct qm_batch_expect *x, const struct qm_request *r, int64_t *shared, struct qm_error *err) {
    struct qm_ids *slot = &x->recent[x->n % QM_EXPECT_RECENT];
    *shared = 0;
    for (int i = 0; i < QM_EXPECT_RECENT; i++) {
        int64_t n = common(&x->recent[i], r->prompt, r->n_prompt - 1) / QM_KV_PAGE_TOKENS * QM_KV_PAGE_TOKENS;
        *shared = n > *shared ? n : *shared;
    }
    int32_t *copy = realloc(slot->data, (size_t)r->n_prompt * sizeof *copy);
    if (!copy)
        return qm_fail_memory(err, (uint64_t)r->n_prompt * sizeof *copy, "a prompt");
    memcpy(copy, r->prompt, (size_t)r->n_prompt * sizeof *copy);
    *slot = (struct qm_ids){.data = copy, .len = (size_t)r->n_prompt, .cap = (size_t)r->n_prompt};
    return QM_OK;
}

static int64_t within(int64_t n, int64_t room) {
    return n < room ? n : room < 0 ? 0 : room;
}

int qm_batch_expect(struct qm_batch_expect *x, const struct qm_request *r, int64_t context, struct qm_estimate_row *row,
                    struct qm_error *err) {
    int64_t limit = r->embed ? 0 : r->decoding.max_tokens, room = context - r->n_prompt;
    bool open = limit < 0;
    *row = (struct qm_estimate_row){.prompt = r->n_prompt};
    int rc = share(x, r, &row->shared, err);
    row->answer = within(open ? QM_EXPECT_OPEN : limit, room);
    int64_t least = open ? QM_EXPECT_OPEN_LEAST : (limit + 7) / 8;
    if (r->decoding.ignore_end)
        least = row->answer;
    row->least = within(least > r->decoding.min_tokens ? least : r->decoding.min_tokens, row->answer);
    row->most = within(open ? QM_EXPECT_OPEN_MAX : limit, room);
    x->n++;
    x->prompt += row->prompt;
    x->shared += row->shared;
    x->answer += row->answer;
    x->open += open;
    return rc;
}

void qm_batch_expect_free(struct qm_batch_expect *x) {
    for (int i = 0; i < QM_EXPECT_RECENT; i++)
        qm_ids_free(&x->recent[i]);
}
