/* Addresses, names and keys. */
#include "serve/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

int qm_address_parse(const char *text, struct qm_address *out, struct qm_error *err) {
    const char *colon = strrchr(text, ':');
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    int64_t port = 0;
    char host[64] = "";
    *out = (struct qm_address){0};
    size_t n = colon ? (size_t)(colon - text) : 0;
    bool ok = colon && n > 0 && n < sizeof host && qm_parse_int(colon + 1, &port) && port >= 0 && port <= 65535;
    if (ok) {
        memcpy(host, text, n);
        memcpy(out->host, text, n);
        v4.sin_port = v6.sin6_port = htons((uint16_t)port);
    }
    if (ok && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        ok = inet_pton(AF_INET6, host + 1, &v6.sin6_addr) == 1;
        memcpy(&out->storage, &v6, sizeof v6);
        out->len = sizeof v6;
    } else if (ok) {
        ok = inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &v4.sin_addr) == 1;
        memcpy(&out->storage, &v4, sizeof v4);
        out->len = sizeof v4;
    }
    return ok ? QM_OK
              : qm_fail(err, QM_USAGE, "expected ADDRESS:PORT such as 127.0.0.1:8080 or [::1]:8080, found \"%.100s\"",
                        text);
}

bool qm_address_is_loopback(const struct qm_address *a) {
    if (a->storage.ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, &a->storage, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, &a->storage, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

/* A name without the port behind it. */
static size_t name_length(const char *host) {
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    return end ? (size_t)(end + 1 - host) : strcspn(host, ":");
}

static bool is_name(const char *host, size_t n, const char *name) {
    return strlen(name) == n && !strncasecmp(host, name, n);
}

bool qm_host_allowed(const struct qm_server_options *o, const struct qm_address *at, const char *host) {
    static const char *const loopback[] = {"localhost", "127.0.0.1", "[::1]"};
    if (!host)
        return true;
    size_t n = name_length(host);
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++)
        if (is_name(host, n, loopback[i]))
            return true;
    for (int i = 0; i < o->n_hosts; i++)
        if (is_name(host, n, o->hosts[i]))
            return true;
    return is_name(host, n, at->host);
}

/* Every byte is looked at, whatever the first ones are. */
static bool same(const char *a, const char *b, size_t n) {
    unsigned char differ = 0;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)(a[i] ^ b[i]);
    return differ == 0;
}

bool qm_key_allowed(const struct qm_server_options *o, const char *authorization, const char *x_api_key) {
    const char *key = x_api_key;
    bool allowed = o->n_keys == 0;
    if (authorization && !strncasecmp(authorization, "Bearer ", 7))
        key = authorization + 7;
    size_t n = key ? strlen(key) : 0;
    for (int i = 0; i < o->n_keys && key; i++)
        allowed |= strlen(o->keys[i]) == n && same(o->keys[i], key, n);
    return allowed;
}
