/* libFuzzer: a request body against a template of the ordinary kind, through the chat layer. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "text/template/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char TEMPLATE[] =
    "{%- if tools %}{{ '# Tools\\n' }}{% for tool in tools %}{{ tool | tojson(indent=2) }}\n{% endfor %}{% endif %}\n"
    "{%- for message in messages %}{% if loop.first and message.role != 'system' %}{{ bos_token }}{% endif %}\n"
    "<|{{ message['role'] }}|>{% if message.content is string %}{{ message.content.split('</think>')[-1] | trim }}\n"
    "{%- elif message.content is iterable %}{% for part in message.content %}{{ part.text | default('') }}{% endfor "
    "%}\n"
    "{%- endif %}{% if message.tool_calls %}{% for call in message.tool_calls %}{% set f = call.function or call %}\n"
    "{{ f.name }}({% for k, v in f.arguments | items %}{{ k }}={{ v | tojson }}{% if not loop.last %}, {% endif %}\n"
    "{%- endfor %}){% endfor %}{% endif %}{{ eos_token }}{% endfor %}\n"
    "{%- if add_generation_prompt %}<|assistant|>{% endif %}";

static struct qm_chat *load(void) {
    char path[] = "/tmp/qm-fuzz-XXXXXX";
    int fd = mkstemp(path);
    struct qm_chat *chat = NULL;
    if (fd < 0 || write(fd, TEMPLATE, sizeof TEMPLATE - 1) < 0 || close(fd) ||
        qm_chat_load("/nonexistent", path, &chat, NULL))
        abort();
    unlink(path);
    return chat;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct qm_chat *chat;
    const struct tm now = {.tm_year = 125};
    struct qm_buf out = {0};
    json_t *body = NULL;
    if (!chat)
        chat = load();
    if (qm_json_parse((const char *)data, size, "body", &body, NULL) == 0)
        if (qm_chat_prompt(chat, body, &now, &out, NULL))
            qm_chat_render(chat, body, &now, &out, NULL);
    qm_buf_free(&out);
    json_decref(body);
    return 0;
}
