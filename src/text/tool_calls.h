/* Calls of tools in a chat answer's text, in the form that Hermes' and Qwen's templates teach: a JSON object of a name
 * and its arguments between <tool_call> and </tool_call>, as often as there are calls. Other forms stay text. */
#ifndef QM_TEXT_TOOL_CALLS_H
#define QM_TEXT_TOOL_CALLS_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

enum { QM_TOOL_CALLS = 128 }; /* of one answer, at most */

/* *calls: the API's list of calls, numbered after id ("call_ID_0"), and what stands around them in *rest; or NULL, and
 * nothing in *rest, where there is none or where one of them is not as it should be: the text is then the answer. The
 * last one's end may be missing, as models leave it out where an answer ends with it. */
int qm_tool_calls(const char *text, size_t len, const char *id, json_t **calls, struct qm_buf *rest,
                  struct qm_error *err);

#endif
