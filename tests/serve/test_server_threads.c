/* A server over sockets: many clients ask, stream, send noise and go away; every answer is the one that it is alone,
 * and nothing is left of those that went. Runs under ThreadSanitizer. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "serve/server.h"
#include "session/prefix_cache.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"
#include "text/template/chat.h"

enum { CLIENTS = 6, EACH = 8, QUESTIONS = 5, ANSWER = 64 << 10 };

static const char dir[] = "data/demo";

struct world {
    struct run_model m;
    struct qm_tokenizer *tokenizer;
    struct qm_chat *chat;
    struct qm_prefix_cache *cache;
    struct qm_service *service;
    struct qm_served_model served;
    const struct qm_served_model *models[1];
    struct qm_server *server;
    int port;
    _Atomic int answered, gone;
    char alone[QUESTIONS][2][ANSWER]; /* whole, streamed */
};

static int open_scheduler(void *arg, struct qm_scheduler_options *out, struct qm_error *err) {
    struct world *w = arg;
    run_model_open(
        &w->m, dir, NULL,
        (struct qm_engine_options){
            .threads = 2, .isa = run_model_isa(), .context = 512, .sequences = 4, .chunk = 64, .kv_type = -1});
    *out = (struct qm_scheduler_options){.engine = w->m.engine, .tokenizer = w->tokenizer};
    int rc = qm_prefix_cache_open(w->m.engine, NULL, &w->cache, err);
    out->cache = w->cache;
    return rc;
}

static void close_scheduler(void *arg) {
    struct world *w = arg;
    qm_prefix_cache_close(w->cache);
    run_model_close(&w->m);
}

static void on_served(void *arg, const struct qm_served *what) {
    struct world *w = arg;
    w->answered += what->status == 200;
    w->gone += what->status == 499;
}

static void world_open(struct world *w) {
    struct qm_error err;
    static const struct qm_generation_config none;
    memset(w, 0, sizeof *w);
    assert_int_equal(qm_tokenizer_load(dir, &w->tokenizer, &err), QM_OK);
    assert_int_equal(qm_chat_load(dir, NULL, &w->chat, &err), QM_OK);
    const struct qm_service_options o = {.open = open_scheduler, .close = close_scheduler, .arg = w};
    if (qm_service_open(&o, &w->service, &err))
        fail_msg("%s", err.message);
    w->served =
        (struct qm_served_model){.name = {"demo"},
                                 .n_names = 1,
                                 .service = w->service,
                                 .context = qm_openai_context_of(&w->m.model->config, &none, w->tokenizer, w->chat)};
    w->served.context.context = qm_service_context(w->service);
    w->served.context.model = "demo";
    w->models[0] = &w->served;
    const struct qm_server_options s = {.models = w->models,
                                        .n_models = 1,
                                        .address = "127.0.0.1:0",
                                        .ping = 0.2,
                                        .deadline = 20,
                                        .connections = 100,
                                        .served = on_served,
                                        .arg = w};
    if (qm_server_open(&s, &w->server, &err))
        fail_msg("%s", err.message);
    w->port = atoi(strrchr(qm_server_url(w->server), ':') + 1);
}

static void world_close(struct world *w) {
    qm_server_close(w->server);
    qm_service_close(w->service);
    qm_chat_free(w->chat);
    qm_tokenizer_free(w->tokenizer);
}

static int dial(const struct world *w) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) {
        perror("connect");
        abort();
    }
    return fd;
}

static int ask(const struct world *w, int question, bool stream) {
    char body[400], head[600];
    snprintf(
        body, sizeof body,
        "{\"messages\": [{\"role\": \"user\", \"content\": \"Tell me story %d about Anselm.\"}], \"max_tokens\": %d, "
        "\"temperature\": %d, \"seed\": %d, \"stream\": %s, \"n\": %d}",
        question, 8 + 5 * question, question % 2, question, stream ? "true" : "false", 1 + question % 2);
    snprintf(
        head, sizeof head,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(body), body);
    int fd = dial(w);
    if (send(fd, head, strlen(head), MSG_NOSIGNAL) != (ssize_t)strlen(head))
        abort();
    return fd;
}

/* Leaves out what differs from one answer to the next: heads, ids and times. What is left are the "content"s and
 * "finish_reason"s of each choice, which come in any order among choices. */
static void contents(const char *answer, char *out) {
    char *of[2] = {out, out + ANSWER / 2};
    for (const char *at = answer; (at = strstr(at, "{\"index\":"));) {
        int choice = atoi(at + 9);
        const char *end = strstr(at + 9, "{\"index\":"), *text = strstr(at, "\"content\":\"");
        if (text && (!end || text < end))
            for (const char *c = text + 11; *c && *c != '"'; c++)
                *of[choice & 1]++ = *c;
        at += 9;
    }
    *of[0] = *of[1] = 0;
}

/* The answer to its end; false: it was cut. */
static bool read_answer(int fd, char *out) {
    char text[ANSWER];
    size_t n = 0;
    ssize_t got;
    while ((got = recv(fd, text + n, sizeof text - 1 - n, 0)) > 0)
        n += (size_t)got;
    text[n] = 0;
    close(fd);
    contents(text, out);
    return got == 0 && strstr(text, " 200 OK") && (strstr(text, "[DONE]") || strstr(text, "\"usage\":{"));
}

static struct world world;

static void *client(void *arg) {
    int number = *(int *)arg;
    char *got = malloc(ANSWER);
    for (int i = 0; i < EACH; i++) {
        int question = (number + i) % QUESTIONS, kind = (number * 5 + i * 3) % 7;
        if (kind == 5) { /* goes away at once */
            close(ask(&world, question, true));
        } else if (kind == 6) { /* noise */
            int fd = dial(&world);
            static const char noise[] =
                "POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\n\r\n{\"a\"\xff\x00\x01 GET";
            send(fd, noise, sizeof noise - (size_t)i, MSG_NOSIGNAL);
            close(fd);
        } else {
            bool stream = kind % 2;
            if (!read_answer(ask(&world, question, stream), got) ||
                memcmp(got, world.alone[question][stream], strlen(world.alone[question][stream]) + 1) != 0 ||
                strcmp(got + ANSWER / 2, world.alone[question][stream] + ANSWER / 2) != 0) {
                printf("question %d, stream %d: \"%s\", alone \"%s\"\n", question, stream, got,
                       world.alone[question][stream]);
                free(got);
                return "another answer";
            }
        }
    }
    free(got);
    return NULL;
}

static void wait_until_idle(struct world *w) {
    struct timespec t = {.tv_nsec = 10000000};
    struct qm_service_stats s;
    for (int i = 0; i < 3000; i++) {
        qm_service_stats(w->service, &s);
        if (!qm_server_active(w->server) && !s.requests)
            return;
        nanosleep(&t, NULL);
    }
    fail_msg("%lld requests are left", (long long)s.requests);
}

static void many_clients(void **state) {
    (void)state;
    pthread_t threads[CLIENTS];
    int number[CLIENTS];
    void *said;
    world_open(&world);
    for (int q = 0; q < QUESTIONS; q++) {
        assert_true(read_answer(ask(&world, q, false), world.alone[q][0]));
        assert_true(read_answer(ask(&world, q, true), world.alone[q][1]));
        assert_true(strlen(world.alone[q][0]) > 10);
        assert_string_equal(world.alone[q][0], world.alone[q][1]);
        assert_string_equal(world.alone[q][0] + ANSWER / 2, world.alone[q][1] + ANSWER / 2);
    }
    for (int i = 0; i < CLIENTS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, client, &number[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], &said);
        if (said)
            fail_msg("client %d: %s", i, (char *)said);
    }
    wait_until_idle(&world);
    assert_true(world.answered >= 2 * QUESTIONS);
    world_close(&world);
}

/* It is closed while answers are on their way, and after the model's service has stopped. */
static void closed_at_work(void **state) {
    (void)state;
    for (int stopped = 0; stopped < 2; stopped++) {
        int fd[3];
        char *got = malloc(ANSWER);
        world_open(&world);
        for (int i = 0; i < 3; i++)
            fd[i] = ask(&world, 4, i % 2);
        if (stopped)
            qm_service_stop(world.service);
        qm_server_drain(world.server);
        world_close(&world);
        for (int i = 0; i < 3; i++)
            read_answer(fd[i], got); /* however far it came: it ends */
        free(got);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_clients), cmocka_unit_test(closed_at_work)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
