/* Where a server listens, by which names it may be called, and who has a key. */
#include "serve/address.h"

#include <arpa/inet.h>
#include <string.h>

#include "serve/exchange.h"
#include "tests/support/support.h"

static void addresses(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool ok, loopback;
        int port;
    } cases[] = {{"127.0.0.1:8080", true, true, 8080},
                 {"127.1.2.3:1", true, true, 1},
                 {"localhost:0", true, true, 0},
                 {"[::1]:65535", true, true, 65535},
                 {"0.0.0.0:80", true, false, 80},
                 {"[::]:80", true, false, 80},
                 {"192.0.2.1:80", true, false, 80},
                 {"", false, false, 0},
                 {":80", false, false, 0},
                 {"127.0.0.1", false, false, 0},
                 {"127.0.0.1:", false, false, 0},
                 {"127.0.0.1:65536", false, false, 0},
                 {"127.0.0.1:-1", false, false, 0},
                 {"127.0.0.1:8x", false, false, 0},
                 {"::1:80", false, false, 0},
                 {"[::1]", false, false, 0},
                 {"[127.0.0.1]:80", false, false, 0},
                 {"example.org:80", false, false, 0},
                 {"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26:80", false, false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_address a;
        struct qm_error err;
        int rc = qm_address_parse(cases[i].text, &a, &err);
        if ((rc == QM_OK) != cases[i].ok)
            fail_msg("%s", cases[i].text);
        if (rc)
            continue;
        assert_int_equal(qm_address_is_loopback(&a), cases[i].loopback);
        struct sockaddr_in v4; /* the port stands at the same place in both */
        memcpy(&v4, &a.storage, sizeof v4);
        assert_int_equal(ntohs(v4.sin_port), cases[i].port);
    }
}

static void names(void **state) {
    (void)state;
    static const char *const hosts[] = {"chat.example.org"};
    const struct qm_server_options o = {.hosts = hosts, .n_hosts = 1};
    struct qm_address at;
    struct qm_error err;
    assert_int_equal(qm_address_parse("192.0.2.7:80", &at, &err), QM_OK);
    static const struct {
        const char *host;
        bool allowed;
    } cases[] = {{NULL, true},
                 {"localhost", true},
                 {"LOCALHOST:99", true},
                 {"127.0.0.1:8080", true},
                 {"[::1]:8080", true},
                 {"[::1]", true},
                 {"192.0.2.7:80", true},
                 {"Chat.Example.org:443", true},
                 {"", false},
                 {"evil.example", false},
                 {"localhost.evil.example", false},
                 {"chat.example.org.evil.example", false},
                 {"evil.example:127.0.0.1", false},
                 {"[::2]", false},
                 {"[::1", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (qm_host_allowed(&o, &at, cases[i].host) != cases[i].allowed)
            fail_msg("%s", cases[i].host);
}

static void keys(void **state) {
    (void)state;
    static const char *const list[] = {"one", "another-one"};
    const struct qm_server_options none = {0}, two = {.keys = list, .n_keys = 2};
    assert_true(qm_key_allowed(&none, NULL, NULL));
    assert_true(qm_key_allowed(&none, "Bearer x", NULL));
    assert_false(qm_key_allowed(&two, NULL, NULL));
    assert_true(qm_key_allowed(&two, "Bearer one", NULL));
    assert_true(qm_key_allowed(&two, "bearer another-one", NULL));
    assert_true(qm_key_allowed(&two, NULL, "one"));
    assert_false(qm_key_allowed(&two, "Bearer on", NULL));
    assert_false(qm_key_allowed(&two, "Bearer onf", NULL));
    assert_false(qm_key_allowed(&two, "Bearer one ", NULL));
    assert_false(qm_key_allowed(&two, "Bearer ", NULL));
    assert_false(qm_key_allowed(&two, "Basic one", NULL));
    assert_false(qm_key_allowed(&two, "one", NULL));
    assert_false(qm_key_allowed(&two, NULL, ""));
}

static void paths(void **state) {
    (void)state;
    static const struct {
        const char *url, *method, *name, *rest;
        bool other;
    } cases[] = {{"/v1/chat/completions", "POST", "/chat/completions", "", false},
                 {"/chat/completions", "POST", "/chat/completions", "", false},
                 {"/v1/chat/completions", "GET", NULL, "", true},
                 {"/v1/models", "GET", "/models", "", false},
                 {"/v1/models/Qwen/Qwen3-4B", "GET", "/models/", "Qwen/Qwen3-4B", false},
                 {"/v1/models/", "GET", NULL, "", false},
                 {"/health", "GET", "/health", "", false},
                 {"/v1/health", "GET", NULL, "", false},
                 {"/v1/v1/models", "GET", NULL, "", false},
                 {"/v1", "GET", NULL, "", false},
                 {"", "GET", NULL, "", false},
                 {"/modelsx", "GET", NULL, "", false},
                 {"/completions", "PUT", NULL, "", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *rest = "";
        bool other;
        const struct qm_path *p = qm_path_find(cases[i].url, cases[i].method, &rest, &other);
        if (!p != !cases[i].name || (p && strcmp(p->name, cases[i].name) != 0) || other != cases[i].other)
            fail_msg("%s %s", cases[i].method, cases[i].url);
        if (p)
            assert_string_equal(rest, cases[i].rest);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(names), cmocka_unit_test(keys),
                                       cmocka_unit_test(paths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
