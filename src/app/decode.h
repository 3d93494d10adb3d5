/* From parsed arguments to plain options: what the commands share. Each command's file decodes its arguments once, at
 * its beginning, by these functions and its own; nothing behind that sees a struct qm_args. What is wrong about a value
 * is said here, before anything is opened. The strings are borrowed from the arguments. */
#ifndef QM_APP_DECODE_H
#define QM_APP_DECODE_H

#include "app/drafts.h"
#include "app/load_model.h"
#include "app/offload.h"
#include "app/open_model.h"
#include "app/options.h"
#include "app/quiet.h"
#include "app/sampling.h"

/* The model, and what overrides its files. */
struct qm_model_options qm_decode_model(const struct qm_args *args);
/* How it is loaded and executed. QM_USAGE; QM_FIT: this CPU can't run --isa. Cards are refused. */
int qm_decode_load(const struct qm_args *args, struct qm_load_options *out, struct qm_error *err);

/* --isa, or what runs without it. QM_FIT: this CPU can't run it. */
int qm_decode_isa(const struct qm_args *args, enum qm_isa *out, struct qm_error *err);
/* --numa. */
int qm_decode_numa(const struct qm_args *args, struct qm_numa *out, struct qm_error *err);
/* --kv-type as enum qm_dtype, or -1. */
int qm_decode_kv_type(const struct qm_args *args, int *out, struct qm_error *err);
/* --quiet, --nice, --idle and --power-cap. */
int qm_decode_quiet(const struct qm_args *args, struct qm_quiet_options *out, struct qm_error *err);
/* --device, --offload and --vram; files of devices are read. */
int qm_decode_offload(const struct qm_args *args, struct qm_offload_options *out, struct qm_error *err);
/* The options of sampling. */
struct qm_sampling_options qm_decode_sampling(const struct qm_args *args);
/* --draft and --draft-tokens. */
int qm_decode_drafts(const struct qm_args *args, struct qm_draft_options *out, struct qm_error *err);
/* An option that is a size; left as it was where it is not given. */
int qm_decode_size(const struct qm_args *args, enum qm_option option, uint64_t *out, struct qm_error *err);
/* An option that may be repeated. */
struct qm_texts qm_decode_texts(const struct qm_args *args, enum qm_option option);

#endif
