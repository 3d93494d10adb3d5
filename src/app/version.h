/* Which build this is: QM_VERSION, and the commit it was made of. */
#ifndef QM_APP_VERSION_H
#define QM_APP_VERSION_H

/* "39e212c0a1", with "+" behind it where files were changed; "unknown" where it was not built in a repository. */
const char *qm_version_commit(void);

#endif
