/* The text of a PDF, by pdftotext (poppler-utils) where that is installed. What a stranger's PDF makes of it is
 * bounded: its time, its memory, what it may write; it may not open more files than it needs, and nothing of ours is
 * open in it. */
#ifndef QM_BATCH_PDF_H
#define QM_BATCH_PDF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

struct qm_pdf_limits {
    double seconds;            /* from beginning to end */
    size_t text_bytes, memory; /* of its output; of its address space */
};
extern const struct qm_pdf_limits qm_pdf_limits;

/* The program's path, looked for in `search` (as $PATH); false where there is none. */
bool qm_pdf_program(const char *search, char *out, size_t size);

/* Appends what the program prints for the file. QM_INPUT with the reason alone ("pdftotext ..."), to be put behind the
 * file's name; QM_SYSTEM where no process can be started. */
int qm_pdf_text(const char *program, const char *path, const struct qm_pdf_limits *limits, struct qm_buf *out,
                struct qm_error *err);

#endif
