/* Characters whose upper or title case is more than one character (Unicode's SpecialCasing.txt, the
 * unconditional entries). */
#ifndef QM_TEXT_TEMPLATE_SPECIAL_CASE_H
#define QM_TEXT_TEMPLATE_SPECIAL_CASE_H

#include <stdint.h>

struct tpl_special_case {
    uint32_t cp;
    const char *upper, *title;
};

const struct tpl_special_case *tpl_special_case(uint32_t cp); /* or NULL */

#endif
