/* The program's entry; everything is in app.c so that tests can link it. */
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "app/app.h"
#include "base/error.h"

/* A stream that whoever started the program has closed would be the number of the first file that is opened: a model's
 * shard read as standard input, messages written into a journal. All three are taken before anything else: standard
 * input is empty then, and writing to the others fails as it would have. */
static bool take_streams(void) {
    int fd;
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv) {
    if (!take_streams())
        return QM_SYSTEM;
    return qm_app_main(argc, argv, environ);
}
