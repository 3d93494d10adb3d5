/* Tensors of parts of a model that are not run, known by their names: towers that read images or sound, and heads that
 * predict tokens further ahead. Where in the flow: called by published.c for what no weight uses. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "model/model.h"
#include "model/weights.h"

static const struct {
    const char *prefix;
    enum qm_left_out part;
} prefixes[] = {
    {"vision_tower.", QM_LEFT_IMAGES},
    {"model.vision_tower.", QM_LEFT_IMAGES},
    {"visual.", QM_LEFT_IMAGES},
    {"model.visual.", QM_LEFT_IMAGES},
    {"vision_model.", QM_LEFT_IMAGES},
    {"mm_projector.", QM_LEFT_IMAGES},
    {"multi_modal_projector.", QM_LEFT_IMAGES},
    {"model.multi_modal_projector.", QM_LEFT_IMAGES},
    {"audio_tower.", QM_LEFT_SOUND},
    {"model.audio_tower.", QM_LEFT_SOUND},
};

const char *qm_left_out_name(enum qm_left_out part) {
    static const char *const names[] = {"images", "sound", "multi-token prediction"};
    _Static_assert(sizeof names / sizeof *names == QM_LEFT_COUNT, "a part without a name");
    return names[part];
}

/* Whether the name is of a layer behind the model's own: "model.layers.N.". */
static bool is_further_layer(const struct qm_config *c, const struct qm_naming *naming, const char *name) {
    size_t n = strlen(naming->model);
    if (strncmp(name, naming->model, n) != 0 || strncmp(name + n, "layers.", 7) != 0)
        return false;
    const char *digits = name + n + 7;
    size_t len = strspn(digits, "0123456789");
    if (len == 0 || len > 6 || digits[len] != '.')
        return false;
    int64_t layer = strtol(digits, NULL, 10);
    return layer >= c->layers && layer < c->layers + c->mtp_layers;
}

int qm_left_out_of(const struct qm_config *c, const struct qm_naming *naming, const char *name) {
    if (strncmp(name, "mtp.", 4) == 0 || strncmp(name, "model.mtp.", 10) == 0 || is_further_layer(c, naming, name))
        return QM_LEFT_MTP;
    for (size_t i = 0; c->nested && i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
            return (int)prefixes[i].part;
    return -1;
}

void qm_left_out_note(struct qm_model *m) {
    for (int part = 0; part < QM_LEFT_COUNT; part++) {
        char size[32];
        if (m->left_out[part].tensors == 0)
            continue;
        qm_model_note(m, "left out: %" PRId64 " tensors of %s (%s): only text is computed, a token at a time\n",
                      m->left_out[part].tensors, qm_left_out_name((enum qm_left_out)part),
                      qm_size_text(m->left_out[part].bytes, size, sizeof size));
    }
}
