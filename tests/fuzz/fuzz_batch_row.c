/* libFuzzer: a batch file through the streamed reader and the row parser. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "batch/input.h"
#include "batch/row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_row(const struct qm_batch_line *line) {
    struct qm_batch_row row = {0};
    struct qm_batch_prefix prefix;
    if (line->text && qm_batch_row_parse(line->text, line->length, "row", &row, NULL) == 0)
        qm_batch_row_prefix(&row, &prefix, NULL);
    qm_batch_row_free(&row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[] = "/tmp/qm-fuzz-XXXXXX";
    int fd = mkstemp(path);
    struct qm_batch_input *in;
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd))
        abort();
    if (qm_batch_input_open(path, 200, &in, NULL))
        abort();
    struct qm_batch_source s = qm_batch_input_source(in);
    struct qm_batch_line line;
    struct qm_buf again = {0};
    bool end = false;
    int64_t expected = 1;
    while (s.next(s.self, &line, &end, NULL) == 0 && !end) {
        if (line.number != expected++ || line.offset + line.length > size)
            abort();
        one_row(&line);
        again.len = 0;
        if (line.text && s.read(s.self, &line, &again, NULL))
            abort();
    }
    qm_buf_free(&again);
    qm_batch_input_close(in);
    unlink(path);
    return 0;
}
