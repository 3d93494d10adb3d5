#include "app/bench.h"
int qm_bench_html(const json_t *rows, bool kernels, struct qm_error *err) { (void)rows;(void)kernels;(void)err; return 0; }
