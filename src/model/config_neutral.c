/* Fields of config.json that change the arithmetic of architectures this program does not have: a model that
 * uses one would run and be wrong, so it is refused by name, but where the architecture reads the field. Where in the
 * flow: called by config.c. */
#include "model/config_fields.h"

#include <string.h>

/* What the field may be besides absent and null. */
enum neutral { NOTHING, ZERO, ONE, NOT_TRUE, EMPTY, ALL_ONES, SILU, SOFTMAX };

static const struct neutral_field {
    const char *key;
    enum neutral neutral;
} fields[] = {
    {"hidden_act", SILU},
    {"hidden_activation", SILU},
    {"partial_rotary_factor", ONE},
    {"rotary_pct", ONE},
    {"rotary_dim", NOTHING},
    {"attn_logit_softcapping", NOTHING},
    {"final_logit_softcapping", NOTHING},
    {"query_pre_attn_scalar", NOTHING},
    {"clip_qkv", NOTHING},
    {"residual_multiplier", ONE},
    {"logits_scaling", ONE},
    {"logit_scale", ONE},
    {"embedding_multiplier", ONE},
    {"attention_multiplier", NOTHING},
    {"scale_emb", ONE},
    {"scale_depth", NOTHING},
    {"dim_model_base", NOTHING},
    {"mup_enabled", NOT_TRUE},
    {"no_rope_layers", ALL_ONES},
    {"no_rope_layer_interval", NOTHING},
    {"rope_interleaved", NOT_TRUE},
    {"rope_interleave", NOT_TRUE},
    {"rope_local_base_freq", NOTHING},
    {"use_mrope", NOT_TRUE},
    {"qk_layernorm", NOT_TRUE},
    {"alibi", NOT_TRUE},
    {"use_parallel_residual", NOT_TRUE},
    {"parallel_attn", NOT_TRUE},
    {"attention_out_bias", NOT_TRUE},
    {"attention_chunk_size", NOTHING},
    {"attn_temperature_tuning", ZERO},
    {"use_dual_chunk_attention", NOT_TRUE},
    {"dual_chunk_attention_config", NOTHING},
    {"rms_norm_add_unit_offset", NOT_TRUE},
    {"kv_lora_rank", NOTHING},
    {"q_lora_rank", NOTHING},
    {"n_shared_experts", ZERO},
    {"num_shared_experts", ZERO},
    {"shared_expert_intermediate_size", ZERO},
    {"first_k_dense_replace", ZERO},
    {"n_group", ONE},
    {"topk_group", ONE},
    {"routed_scaling_factor", ONE},
    {"scoring_func", SOFTMAX},
    {"add_cross_attention", NOT_TRUE},
    {"is_encoder_decoder", NOT_TRUE},
    {"pruned_heads", EMPTY},
    {"text_config", NOTHING}, /* of a file that is not known to be of more than text (config_text.c) */
    {"vision_config", NOTHING},
    {"audio_config", NOTHING},
    {"compression_config", NOTHING},
};

static bool all_ones(const json_t *v) {
    size_t i;
    json_t *x;
    if (!json_is_array(v))
        return false;
    json_array_foreach((json_t *)v, i, x) {
        if (!json_is_true(x) && !(json_is_integer(x) && json_integer_value(x) == 1))
            return false;
    }
    return true;
}

static bool is_neutral(const json_t *v, enum neutral n) {
    const char *s = json_string_value(v);
    switch (n) {
    case NOTHING: return false;
    case ZERO: return json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0);
    case ONE: return json_is_number(v) && json_number_value(v) == 1;
    case NOT_TRUE: return json_is_false(v);
    case EMPTY:
        return json_array_size(v) == 0 && json_object_size(v) == 0 && (json_is_array(v) || qm_json_is_object(v));
    case ALL_ONES: return all_ones(v);
    case SILU: return s && (strcmp(s, "silu") == 0 || strcmp(s, "swish") == 0);
    case SOFTMAX: return s && strcmp(s, "softmax") == 0;
    }
    return false;
}

static const char *neutral_name(enum neutral n) {
    switch (n) {
    case NOTHING: return "null or nothing";
    case ZERO: return "0 or nothing";
    case ONE: return "1 or nothing";
    case NOT_TRUE: return "false or nothing";
    case EMPTY: return "nothing in it";
    case ALL_ONES: return "1 for every layer";
    case SILU: return "\"silu\"";
    case SOFTMAX: return "\"softmax\"";
    }
    return "nothing";
}

bool qm_config_reads(const char *const *reads, const char *key) {
    for (; reads && *reads; reads++)
        if (strcmp(*reads, key) == 0)
            return true;
    return false;
}

int qm_config_check_neutral(const json_t *root, const char *path, const char *const *reads, struct qm_error *err) {
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const json_t *v = json_object_get(root, fields[i].key);
        if (!v || json_is_null(v) || is_neutral(v, fields[i].neutral) || qm_config_reads(reads, fields[i].key))
            continue;
        char found[80];
        if (json_is_string(v))
            snprintf(found, sizeof found, "\"%.60s\"", json_string_value(v));
        else if (json_is_number(v))
            snprintf(found, sizeof found, "%g", json_number_value(v));
        else
            snprintf(found, sizeof found, "%s", qm_json_type_name(v));
        return qm_fail(err, QM_INPUT,
                       "%s: \"%s\": expected %s, found %s: it changes the arithmetic in a way that is not "
                       "implemented",
                       path, fields[i].key, neutral_name(fields[i].neutral), found);
    }
    return QM_OK;
}
