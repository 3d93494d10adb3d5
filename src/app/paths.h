/* What a command line reads held against what it writes, before a command begins: by device and inode, so that links
 * and other spellings of a name count, and by folder and name where nothing is there yet. */
#ifndef QM_APP_PATHS_H
#define QM_APP_PATHS_H

#include "app/options.h"

/* QM_INPUT where a file would be written that is read, that is written twice, that is one of the model's, or that
 * belongs to a batch job; QM_USAGE for "-" where standard output can't be the file. What a shell hands over in a pipe
 * and is read more than once is kept, so that it can be. */
int qm_paths_check(const struct qm_args *args, struct qm_error *err);

#endif
