/* Which build this is. The one file that is compiled again when the commit changes. */
#include "app/version.h"

const char *qm_version_commit(void) {
    return QM_COMMIT;
}
