/* Names of files inside a model folder. */
#ifndef QM_BASE_PATH_H
#define QM_BASE_PATH_H

/* "dir/name", to be freed; NULL where there is no memory. */
char *qm_path_join(const char *dir, const char *name);

#endif
