/* What comes with the program and lies beside it: in the source tree, or installed in share/quietmind. */
#ifndef QM_APP_BESIDE_H
#define QM_APP_BESIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

/* The path of a file: in `source` of the source tree, whose build/ or build/VARIANT/ has the program, else in
 * share/quietmind/`installed`. false: it is not there. */
bool qm_beside_program(const char *source, const char *installed, const char *file, char *out, size_t size);

/* The text of a described machine or device: a file, or the name of one that comes with the program, such as
 * rtx-pro-6000. option: who asks. QM_INPUT names those that there are. */
int qm_description_read(const char *option, const char *name, struct qm_buf *out, struct qm_error *err);

#endif
