/* check/tests.c - all areas. */
#include "check/tests.h"

#define AREA_ROW(role, name) { role, name##_tests, &name##_count },
const struct check_area check_areas[] = { AREA_TABLE(AREA_ROW) };
const size_t check_area_count = ARRAY_LEN(check_areas);
