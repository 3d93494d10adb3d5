/* The program's entry; everything is in app.c so that tests can link it. */
#include <unistd.h>

#include "app/app.h"

int main(int argc, char **argv) {
    return qm_app_main(argc, argv, environ);
}
