/* Where a server listens, and who may call it how: addresses, the names in Host, keys. Pure functions. */
#ifndef QM_SERVE_ADDRESS_H
#define QM_SERVE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"
#include "serve/options.h"

struct qm_address {
    struct sockaddr_storage storage;
    socklen_t len;
    char host[64]; /* as it was given, brackets included */
};

/* "HOST:PORT", HOST being an IPv4 address, an IPv6 address in brackets, or "localhost". QM_USAGE. */
int qm_address_parse(const char *text, struct qm_address *out, struct qm_error *err);
/* Whether what listens there can be reached from this machine alone. */
bool qm_address_is_loopback(const struct qm_address *a);

/* Whether a request may call the server so: no header is no browser's; loopback, the address itself, a name of the
 * options. A browser that was led here under another name is not let in. */
bool qm_host_allowed(const struct qm_server_options *o, const struct qm_address *at, const char *host);

/* Whether it has one of the keys, as "Authorization: Bearer KEY" or "x-api-key: KEY"; NULL where there is no such
 * header. Takes as long for one key as for another of the same length. */
bool qm_key_allowed(const struct qm_server_options *o, const char *authorization, const char *x_api_key);

#endif
