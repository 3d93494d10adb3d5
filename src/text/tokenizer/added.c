/* Added tokens: found in raw text first (those not "normalized"), then, in what is between, in
 * normalized text. Matching is leftmost-longest; single_word, lstrip and rstrip judge what was found. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

/* The token at or after `from`, leftmost and longest. */
static int32_t next_match(const struct qm_added_set *set, const char *text, size_t len, size_t from, size_t *start,
                          size_t *end) {
    for (size_t i = from; i < len; i++) {
        if (!set->first[(unsigned char)text[i]])
            continue;
        size_t matched = 0;
        int32_t index = qm_trie_longest(&set->trie, text + i, len - i, &matched);
        if (index >= 0) {
            *start = i;
            *end = i + matched;
            return index;
        }
    }
    return -1;
}

static bool is_alone(const char *text, size_t len, size_t start, size_t end) {
    uint32_t cp;
    if (start > 0) {
        qm_char_before(text, start, &cp);
        if (qm_is_word(cp))
            return false;
    }
    if (end < len) {
        qm_char_next(text + end, len - end, &cp);
        if (qm_is_word(cp))
            return false;
    }
    return true;
}

/* Cuts text at the set's tokens: their ids are written, what is between goes to `between`. */
static int cut(struct qm_call *c, const struct qm_added_set *set, struct qm_text text,
               int (*between)(struct qm_call *, struct qm_text)) {
    size_t done = 0, from = 0, start = 0, end = 0;
    int rc = QM_OK;
    int32_t index;
    while (!rc && set->any && (index = next_match(set, text.p, text.len, from, &start, &end)) >= 0) {
        const struct qm_added *a = &c->t->added[index];
        uint32_t cp;
        from = end;
        if (a->special && !c->parse_special)
            continue;
        if (a->single_word && !is_alone(text.p, text.len, start, end))
            continue;
        while (a->lstrip && start > done) {
            size_t s = qm_char_before(text.p, start, &cp);
            if (!qm_is_space(cp))
                break;
            start = s;
        }
        while (a->rstrip && end < text.len) {
            size_t k = qm_char_next(text.p + end, text.len - end, &cp);
            if (!qm_is_space(cp))
                break;
            end += k;
        }
        /* White space that the token before took does not count: a token of nothing else is not there. */
        if (a->lstrip && start < done)
            start = done;
        if (start >= end) {
            done = end;
            continue;
        }
        if (done < start)
            rc = between(c, (struct qm_text){text.p + done, start - done, text.lead > done ? text.lead - done : 0});
        if (!rc)
            rc = qm_ids_push(c->out, a->id, c->err);
        done = end;
    }
    if (!rc && done < text.len)
        rc = between(c, (struct qm_text){text.p + done, text.len - done, text.lead > done ? text.lead - done : 0});
    return rc;
}

static int words(struct qm_call *c, struct qm_text text) {
    return qm_pretokenize(c, 0, text);
}

static int normalized(struct qm_call *c, struct qm_text text) {
    struct qm_text out;
    int rc = qm_normalize(c, text, &out);
    return rc ? rc : cut(c, &c->t->normal, out, words);
}

/* Between the added tokens of a text for SentencePiece, which normalizes by itself. */
static int pieces(struct qm_call *c, struct qm_text text) {
    return qm_spm_encode(c, text.p, text.len, c->t->legacy || text.lead > 0);
}

int qm_added_encode(struct qm_call *c, const char *text, size_t len) {
    uint32_t cp;
    size_t lead = len ? qm_char_next(text, len, &cp) : 0;
    return cut(c, &c->t->raw, (struct qm_text){text, len, lead}, c->t->kind == QM_KIND_SPM ? pieces : normalized);
}

/* ---- building ---- */

static int build_set(struct qm_added_set *set, struct qm_trie_key *keys, size_t n, struct qm_error *err) {
    for (size_t i = 0; i < n; i++)
        set->first[(unsigned char)keys[i].text[0]] = true;
    set->any = n > 0;
    return qm_trie_build(&set->trie, keys, n, err);
}

/* Normalized tokens are sought by their normalized text, which lies in one buffer for the time. */
static int normalized_keys(struct qm_tokenizer *t, struct qm_call *c, struct qm_trie_key *keys, size_t n,
                           struct qm_buf *text) {
    size_t *offsets = calloc(n + 1, sizeof *offsets);
    if (!offsets)
        return qm_fail_memory(c->err, n * sizeof *offsets, "added tokens");
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < n; i++) {
        struct qm_text out;
        rc = qm_normalize(c, (struct qm_text){keys[i].text, keys[i].len, 1}, &out);
        if (!rc)
            rc = qm_vocab_add(&t->added_text, out.p, out.len, t->added[keys[i].value].id, "added token", c->err);
        if (!rc)
            rc = qm_buf_add(text, out.p, out.len, c->err);
        offsets[i + 1] = text->len;
    }
    size_t kept = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        /* A token of which normalization leaves nothing is never found. (The library finds it between any
         * two characters, gives no id for it, and so keeps them from merging.) */
        if (offsets[i + 1] == offsets[i])
            continue;
        keys[kept] = keys[i];
        keys[kept].text = text->data + offsets[i];
        keys[kept++].len = offsets[i + 1] - offsets[i];
    }
    free(offsets);
    return rc ? rc : build_set(&t->normal, keys, kept, c->err);
}

int qm_added_build(struct qm_tokenizer *t, struct qm_error *err) {
    struct qm_trie_key *keys = calloc(t->nadded + 1, sizeof *keys);
    if (!keys)
        return qm_fail_memory(err, t->nadded * sizeof *keys, "added tokens");
    struct qm_buf text = {0};
    struct qm_call c;
    int rc = qm_call_begin(&c, t, 0, NULL, err);
    for (int pass = 0; !rc && pass < 2; pass++) {
        size_t n = 0;
        for (size_t i = 0; i < t->nadded; i++) {
            const struct qm_added *a = &t->added[i];
            if (a->normalized != (pass == 1))
                continue;
            struct qm_trie_key *k = &keys[n++];
            k->text = qm_vocab_text(&t->added_vocab, a->id, &k->len);
            k->value = (int32_t)i;
            /* Two may have one normalized text: the special one stands first, then the earlier. */
            k->order = (uint32_t)(a->special ? i : i + t->nadded);
        }
        rc = pass == 0 ? build_set(&t->raw, keys, n, err) : normalized_keys(t, &c, keys, n, &text);
    }
    qm_call_end(&c);
    qm_buf_free(&text);
    free(keys);
    return rc;
}
