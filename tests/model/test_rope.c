/* Rotation frequencies of each kind, against values computed in Python with NumPy's float64 from the papers'
 * formulas (the expected numbers below). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "model/config.h"

struct rope_case {
    const char *name, *fields;
    int64_t head_dim, max_positions, context;
    double attention_factor, inv_freq[16];
};

static const struct rope_case cases[] = {
    {"default",
     "{\"rope_theta\":10000.0}",
     16,
     4096,
     4096,
     1.0,
     {1.0, 0.31622776601683794, 0.1, 0.03162277660168379, 0.01, 0.0031622776601683794, 0.001, 0.00031622776601683794}},
    {"linear",
     "{\"rope_theta\":10000.0,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}}",
     16,
     4096,
     4096,
     1.0,
     {0.4, 0.12649110640673517, 0.04, 0.012649110640673516, 0.004, 0.0012649110640673518, 0.0004,
      0.00012649110640673518}},
    {"dynamic, short",
     "{\"rope_theta\":10000.0,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}}",
     16,
     64,
     64,
     1.0,
     {1.0, 0.31622776601683794, 0.1, 0.03162277660168379, 0.01, 0.0031622776601683794, 0.001, 0.00031622776601683794}},
    {"dynamic, long",
     "{\"rope_theta\":10000.0,\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2.0}}",
     16,
     64,
     160,
     1.0,
     {1.0, 0.25941281701492275, 0.0672950096316178, 0.017457188019584336, 0.004528618321319533, 0.0011747816359188909,
      0.00030475341355111886, 7.905694150420948e-05}},
    {"yarn",
     "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":1024,\"rope_"
     "theta\":1000000.0}}",
     32,
     4096,
     4096,
     1.138629436111989,
     {1.0, 0.4216965034285822, 0.15115374985330846, 0.052492594653271905, 0.017392527130926087, 0.005334085728653296,
      0.0014058533129758727, 0.0005928434264154138, 0.00025, 0.00010542412585714556, 4.445698525097307e-05,
      1.8747355233311396e-05, 7.905694150420949e-06, 3.33380358040831e-06, 1.4058533129758728e-06,
      5.928434264154138e-07}},
    {"yarn, not truncated",
     "{\"rope_theta\":150000,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":32.0,\"beta_fast\":32.0,\"beta_slow\":"
     "1.0,\"truncate\":false,\"original_max_position_embeddings\":1024}}",
     32,
     32768,
     4096,
     1.3465735902799727,
     {1.0, 0.4747820554769007, 0.22541800020287084, 0.0888703974248784, 0.031613938446408196, 0.009986474089861355,
      0.0023564466075763815, 0.00016994566689118156, 8.068715304598785e-05, 3.8308812373753384e-05,
      1.818833668168956e-05, 8.63549587543848e-06, 4.09997848180298e-06, 1.9465962110014815e-06, 9.242089502428302e-07,
      4.387978250864396e-07}},
    {"yarn, mscale",
     "{\"rope_theta\":10000,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"mscale\":0.707,\"mscale_all_dim\":1.2,"
     "\"beta_fast\":16,\"beta_slow\":2,\"original_max_position_embeddings\":4096}}",
     16,
     163840,
     4096,
     0.8739404576185121,
     {1.0, 0.31622776601683794, 0.1, 0.03162277660168379, 0.006750000000000002, 0.001106797181058933, 2.5e-05,
      7.905694150420949e-06}},
    {"yarn, attention_factor",
     "{\"rope_theta\":10000,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":8,\"attention_factor\":1.5}}",
     16,
     2048,
     4096,
     1.5,
     {1.0, 0.31622776601683794, 0.1, 0.02470529422006546, 0.005625, 0.0010870329456828805, 0.000125,
      3.952847075210474e-05}},
    {"yarn, factor by ratio",
     "{\"rope_theta\":10000,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":null,\"original_max_position_embeddings\":"
     "1024}}",
     16,
     3072,
     4096,
     1.109861228866811,
     {1.0, 0.31622776601683794, 0.08333333333333334, 0.021081851067789193, 0.005, 0.0010540925533894599,
      0.0003333333333333333, 0.00010540925533894598}},
    {"llama3",
     "{\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
     "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":256}}",
     16,
     4096,
     4096,
     1.0,
     {1.0, 0.19392274474868576, 0.010538232746455323, 0.0009115830921521387, 0.00017677669529663688,
      3.428102195952591e-05, 6.647869871181235e-06, 1.2891731721515574e-06}},
    {"llama3 of 3.1",
     "{\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
     "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}}",
     32,
     131072,
     131072,
     1.0,
     {1.0, 0.44036660267178046, 0.19392274474868576, 0.08539710028576561, 0.03760603093086393, 0.016560440080994446,
      0.007292664737217109, 0.003211445994752591, 0.0005248461609929547, 7.78465527393245e-05, 3.428102195952591e-05,
      1.509621717643313e-05, 6.647869871181235e-06, 2.9274998701761677e-06, 1.2891731721515574e-06,
      5.677088100759837e-07}},
};

static json_t *config_with(const struct rope_case *k) {
    struct qm_error err;
    json_t *fields;
    assert_int_equal(qm_json_parse(k->fields, strlen(k->fields), k->name, &fields, &err), 0);
    json_t *root =
        json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:f,s:I,s:I}", "model_type", "llama", "vocab_size", 16, "hidden_size", 64,
                  "num_hidden_layers", 1, "num_attention_heads", 2, "intermediate_size", 32, "rms_norm_eps", 1e-6,
                  "head_dim", (json_int_t)k->head_dim, "max_position_embeddings", (json_int_t)k->max_positions);
    assert_non_null(root);
    assert_int_equal(json_object_update(root, fields), 0);
    json_decref(fields);
    return root;
}

static void frequencies(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct rope_case *k = &cases[i];
        struct qm_config c;
        struct qm_error err;
        json_t *root = config_with(k);
        if (qm_config_parse(root, k->name, &c, &err))
            fail_msg("%s", err.message);
        double inv_freq[16], factor;
        qm_rope_frequencies(&c.rope, k->context, inv_freq, &factor);
        for (int64_t d = 0; d < k->head_dim / 2; d++)
            if (!(fabs(inv_freq[d] - k->inv_freq[d]) <= 1e-12 * k->inv_freq[d]))
                fail_msg("%s: [%lld]: expected %.17g, found %.17g", k->name, (long long)d, k->inv_freq[d], inv_freq[d]);
        if (!(fabs(factor - k->attention_factor) <= 1e-14))
            fail_msg("%s: attention factor: expected %.17g, found %.17g", k->name, k->attention_factor, factor);
        qm_config_free(&c);
        json_decref(root);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(frequencies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
