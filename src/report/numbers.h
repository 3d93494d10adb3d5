/* Numbers for people. Each function writes to out, which holds `size` bytes (32 are enough for all of them), and
 * returns it. Sizes that are held against each other, and those in messages of libraries, are in base/size.h. */
#ifndef QM_REPORT_NUMBERS_H
#define QM_REPORT_NUMBERS_H

#include <stddef.h>

/* A measure in so many significant digits, whole from there on: "0.0123", "45.67", "21390", "21.39M"; "-": not a
 * number, or infinite. */
const char *qm_number_text(double x, int digits, char *out, size_t size);
/* Counted things, such as parameters: "494.03 M", "7.62 B". */
const char *qm_count_text(double n, char *out, size_t size);

/* Sizes of memory and files at a glance: "1.5 GiB". */
const char *qm_bytes_text(double bytes, char *out, size_t size);
/* Bandwidths, decimal: "1.5 GB/s". */
const char *qm_bytes_rate_text(double rate, char *out, size_t size);
/* What a machine does in a second, in units of 10^9 and more, for the unit to follow: "87.3 G", "1.8 T": B/s,
 * FLOP/s. */
const char *qm_rate_text(double rate, char *out, size_t size);

/* Time that passes or is left: "0.5 s", "12 s", "3 min 20 s", "5 h 20 min", "3 days 4 h"; "-" where it is not
 * known, or no clock would show it. */
const char *qm_duration_text(double seconds, char *out, size_t size);
/* Time that was calculated, in which fractions matter as long as it is short: "850 ms", "12.3 s", and from 100 s on as
 * above. */
const char *qm_calculated_duration_text(double seconds, char *out, size_t size);

#endif
