/* The same tests for machines without SSE2. */
#undef __SSE2__
#include "sip/span_test.c" // NOLINT(bugprone-suspicious-include): that is the point
