/* From an OpenAI-style request body to the prompt: finds the model's template and renders it as
 * transformers' apply_chat_template does. */
#ifndef QM_TEXT_TEMPLATE_CHAT_H
#define QM_TEXT_TEMPLATE_CHAT_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "base/buf.h"
#include "base/error.h"

struct qm_chat;

/* The template comes from `file` if not NULL, else DIR/chat_template.jinja, else DIR/chat_template.json,
 * else tokenizer_config.json's "chat_template" (a string, or a list of {name, template}), beside those that
 * DIR/additional_chat_templates/NAME.jinja gives by name; bos_token, eos_token and the other special tokens as the
 * tokenizer has them (text/tokenizer/settings.h). DIR needs nothing else. None: QM_INPUT, saying so and naming
 * --chat-template. */
int qm_chat_load(const char *dir, const char *file, struct qm_chat **out, struct qm_error *err);
void qm_chat_free(struct qm_chat *c);

/* The prompt of an OpenAI request body, as every command makes it. Messages and tools may be as clients send them, what
 * their libraries write of an answer included; they are made as the template wants them, which was found when it was
 * loaded:
 *   null stands for a field left out, in messages, calls and tools; [] of tools, documents or calls too;
 *   content: parts stay a list where the template reads lists, else are joined by newlines; none is "", or null, or
 *     left out, whichever lets the template show the calls beside it; a refusal's text stands for it;
 *   arguments of calls: an object or text of JSON, whichever the template shows; "" is {};
 *   ids of calls are cut to nine letters and digits where the template insists on that (Mistral's);
 *   "function_call" and role "function" become a call and a tool's answer, unless the template reads the former;
 *   role "developer" is "system" where the template has none; a tool's answer gets the name of its call;
 *   reasoning, thinking and reasoning_content are one; audio and annotations are dropped.
 * Also read: "tool_choice" ("none": the template sees no tools) and "reasoning_effort" (a variable). Else as
 * qm_chat_render, with what the template itself refuses or fails at named so. */
int qm_chat_prompt(const struct qm_chat *c, const json_t *body, const struct tm *now, struct qm_buf *out,
                   struct qm_error *err);

/* Whether the template is given tools by it: there are some, and "tool_choice" does not say "none". */
bool qm_chat_has_tools(const json_t *body);

/* Whether the template renders one user's message, after the system's where `system` is given; QM_INPUT naming what it
 * refuses or fails at. kwargs: as chat_template_kwargs, or NULL. */
int qm_chat_check(const struct qm_chat *c, const json_t *kwargs, const char *system, const struct tm *now,
                  struct qm_error *err);

/* The same of messages that are as the template wants them, as transformers renders them. body: {messages, tools?,
 * documents?, add_generation_prompt? (true unless given or continue_final_message), continue_final_message?,
 * chat_template_kwargs?}. Other members are ignored. chat_template_kwargs become variables, over the special tokens and
 * anything but messages. continue_final_message cuts the prompt where the last message's text ends, and excludes
 * add_generation_prompt. Named templates: tool_use if there are tools, else default. Tool call arguments given as
 * strings stay strings. Appends the prompt, with no newline added; on failure out is as it was. */
int qm_chat_render(const struct qm_chat *c, const json_t *body, const struct tm *now, struct qm_buf *out,
                   struct qm_error *err);

#endif
