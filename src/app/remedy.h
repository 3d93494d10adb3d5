/* What helps against an error of a library, in the words of this program's options. Where in the flow: libraries mark
 * it (enum qm_remedy), and an error is completed here before its message reaches a person or a file: at the end of the
 * program, and where its text becomes a row's error line, a note or a cell of a table. */
#ifndef QM_APP_REMEDY_H
#define QM_APP_REMEDY_H

#include "base/error.h"
#include "engine/fingerprint.h"

/* Adds "; --context raises it" and the like to the message, and takes the mark away: a second call adds nothing. */
void qm_remedy_add(struct qm_error *err);

/* The options that set a trait, as " (--offload, --device)"; "" where none does. */
const char *qm_trait_options(enum qm_trait t);

#endif
