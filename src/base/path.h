/* Paths and names of files and folders. */
#ifndef QM_BASE_PATH_H
#define QM_BASE_PATH_H

/* "dir/name", to be freed; NULL where there is no memory. */
char *qm_path_join(const char *dir, const char *name);
/* What follows the last slash: "model" of "dir/model"; the path itself where nothing follows. */
const char *qm_path_last(const char *path);

#endif
