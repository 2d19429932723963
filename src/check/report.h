/* check/report.h - from finished tests to what people and machines read.
 *
 * A finished test is one line of JSON, {"test","row","verdict","why","proof","ms","events":[...]}.
 * The report FILE.json holds a head and these lines; HTML, JUnit and the comparison are made from
 * it. The secret part of digest answers never gets into a line. Threads: report_line any, the
 * others under the run's lock or after it. */
#ifndef CHECK_REPORT_H
#define CHECK_REPORT_H

#include "check/run.h"
#include "json/read.h"

void report_line(const struct test *t, struct result *out); /* line NULL: memory is short */
void report_progress(struct run *run, const struct result *r);
/* Lines of an earlier run: those tests are not run again. */
NODISCARD enum err report_resume(struct run *run, const char *part_file);

struct row_count {
    unsigned pass, fail, na, unclear; /* of rows: a row is as bad as its worst test */
};
struct score {
    struct row_count levels[3];
};
/* The verdict of a row from its tests: fail, then inconclusive, then pass, then not applicable. */
enum verdict row_verdict(const struct run *run, enum row_id row);
void report_summary(const struct run *run, struct score *out); /* prints, unless quiet */
NODISCARD enum err report_json(const struct run *run, const char *file);
NODISCARD enum err report_html(const struct run *run, const char *file);
NODISCARD enum err report_junit(const struct run *run, const char *file);
/* Prints what got better or worse since then; *worse is the number of rows that got worse. */
NODISCARD enum err report_compare(const struct run *run, const char *old_file, unsigned *worse);

/* A whole file in memory (free it), at most 64 MB. */
NODISCARD enum err file_slurp(const char *path, char **out, size_t *len);
NODISCARD enum err file_spill(const char *path, slice s);

#endif
