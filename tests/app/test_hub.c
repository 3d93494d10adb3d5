/* Where the Hugging Face cache is: each case as huggingface_hub 2.4 answers it (constants.HF_HUB_CACHE). */
#include "tests/support/support.h"

#include <stdio.h>
#include <string.h>

#include "app/hub.h"

enum { MOST = 6 };
static const char *variables[MOST][2];

static const char *get(const char *name) {
    for (int i = 0; i < MOST && variables[i][0]; i++)
        if (!strcmp(variables[i][0], name))
            return variables[i][1];
    return NULL;
}

static void the_folder_is_huggingface_hubs(void **state) {
    (void)state;
    static const struct {
        const char *set[MOST][2], *folder;
    } cases[] = {
        {{{"HOME", "/home/u"}}, "/home/u/.cache/huggingface/hub"},
        {{{"HOME", "/home/u/"}}, "/home/u/.cache/huggingface/hub"},
        {{{"HOME", "/"}}, "/.cache/huggingface/hub"},
        {{{"HOME", "/home/u"}, {"XDG_CACHE_HOME", "/var/cache"}}, "/var/cache/huggingface/hub"},
        {{{"HOME", "/home/u"}, {"XDG_CACHE_HOME", "~/c"}}, "/home/u/c/huggingface/hub"},
        {{{"HOME", "/home/u"}, {"HF_HOME", "/data/hf"}}, "/data/hf/hub"},
        {{{"HOME", "/home/u"}, {"HF_HOME", "~/hf"}, {"XDG_CACHE_HOME", "/var/cache"}}, "/home/u/hf/hub"},
        {{{"HOME", "/home/u"}, {"HF_HOME", "~"}}, "/home/u/hub"},
        {{{"HOME", "/home/u"}, {"HF_HOME", "~root/hf"}}, "/root/hf/hub"},
        {{{"HOME", "/home/u"}, {"HF_HOME", "~nobody-of-this-name/hf"}}, "~nobody-of-this-name/hf/hub"},
        {{{"HF_HOME", "$DISK/hf"}, {"DISK", "/mnt/big"}}, "/mnt/big/hf/hub"},
        {{{"HF_HOME", "${DISK}2/hf"}, {"DISK", "/mnt/big"}}, "/mnt/big2/hf/hub"},
        {{{"HF_HOME", "/a/$NONE/${NONE}/$/b"}}, "/a/$NONE/${NONE}/$/b/hub"},
        {{{"HOME", "/home/u"}, {"HF_HOME", "$A"}, {"A", "~/x"}}, "/home/u/x/hub"},
        {{{"HF_HOME", "/hf/"}}, "/hf/hub"},
        {{{"HF_HOME", "/hf"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}, "/old"},
        {{{"HOME", "/home/u"}, {"HUGGINGFACE_HUB_CACHE", "~/old"}}, "/home/u/old"},
        {{{"HF_HOME", "/hf"}, {"HUGGINGFACE_HUB_CACHE", "/old"}, {"HF_HUB_CACHE", "/new"}}, "/new"},
        {{{"HOME", "/home/u"}, {"HF_HUB_CACHE", "~/new"}}, "/home/u/new"},
        {{{"HOME", "/home/u"}, {"HF_HUB_CACHE", ""}, {"HF_HOME", ""}}, "/home/u/.cache/huggingface/hub"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_buf out = {0};
        struct qm_error err;
        memcpy(variables, cases[i].set, sizeof variables);
        assert_int_equal(qm_hub_folder(get, &out, &err), 0);
        assert_string_equal(out.data, cases[i].folder);
        qm_buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_folder_is_huggingface_hubs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
