/* What a batch job is: fingerprints of its input and its model, its knobs, seed and version, kept in the journal when
 * the job begins. A job resumes only as what it was; what may change without changing a result (another instruction
 * set, another type of KV cache, a newer version) is reported instead, since rows from then on are computed by it. */
#ifndef QM_BATCH_MANIFEST_H
#define QM_BATCH_MANIFEST_H

#include <stdbool.h>

#include "base/hash.h"
#include "batch/journal.h"
#include "batch/ui.h"
#include "engine/fingerprint.h"

enum { QM_MANIFEST_ITEMS = 24 };

struct qm_manifest {
    int n;
    struct qm_manifest_item {
        const char *key, *what; /* in the journal; for people */
        const char *options;    /* that set it, after what; "" */
        char value[256];        /* a longer one is kept as its fingerprint */
        bool may_change;
    } item[QM_MANIFEST_ITEMS];
};

/* key and what are borrowed. */
void qm_manifest_add(struct qm_manifest *m, const char *key, const char *what, const char *value, bool may_change);
void qm_manifest_add_number(struct qm_manifest *m, const char *key, const char *what, double value, bool may_change);

/* The fingerprint of a model's files that decide about text: tokenizer, chat template (template_file where not NULL),
 * generation_config.json. */
int qm_manifest_add_texts(struct qm_manifest *m, const char *dir, const char *template_file, struct qm_error *err);
/* What is known of a fingerprint (engine/fingerprint.h), an item a trait. */
void qm_manifest_add_traits(struct qm_manifest *m, const struct qm_fingerprint *f, const struct qm_batch_words *words);

/* Keeps each item that the journal has not got (with the next commit), and compares the others; QM_INPUT names
 * everything that differs and must not. So a job's manifest can be settled piece by piece, as it becomes known. */
int qm_manifest_settle(const struct qm_manifest *m, struct qm_journal *j, const struct qm_batch_ui *ui,
                       struct qm_error *err);
/* The fingerprint of all that must not change. */
void qm_manifest_job(const struct qm_manifest *m, char out[QM_HASH_TEXT]);

#endif
