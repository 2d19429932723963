/* check/report.h - from finished tests to what people and machines read.
 *
 * A finished test is one line of JSON, {"test","row","verdict","why","proof","ms","events":[...]}.
 * The report FILE.json holds a head and these lines (docs/check.md describes it); HTML, JUnit and
 * the comparison are made from them. What is computed from a password never gets into a line.
 * Threads: report_line any, the others under the run's lock or after it. */
#ifndef CHECK_REPORT_H
#define CHECK_REPORT_H

#include "check/run.h"
#include "json/read.h"
#include "json/write.h"

void report_line(const struct test *t, struct result *out); /* line NULL: memory is short */
void report_progress(struct run *run, const struct result *r);
/* FILE.part begins with what it is of. */
void report_part_head(const struct run *run);
/* Lines of an earlier run: those tests are not run again. BAD: the file is of another target, role
 * or version; MISSING: there is none. */
NODISCARD enum err report_resume(struct run *run, const char *part_file);

#define REPORT_PROFILE "Voice 3.0 profile, edition 2026"

struct row_count {
    unsigned pass, fail, na, unclear; /* of rows: a row is as bad as its worst test */
    unsigned untested;                /* rows of this role of which no test ran */
};
struct score {
    struct row_count levels[3];
};
/* The verdict of a row from its tests: fail, then inconclusive, then pass, then not applicable. */
enum verdict row_verdict(const struct run *run, enum row_id row);
/* Is it one for this role of which no test ran? What was not tested is not passed. */
bool row_untested(const struct run *run, enum row_id row);
struct row_count report_area(const struct run *run, const char *area);
void report_score(const struct run *run, struct score *out);
/* Prints, unless quiet: what does not pass and why, each area, each level. */
void report_summary(const struct run *run);
const char *report_role(const struct run *run); /* "server"; "pbx" where we are its provider */
void report_put_time(struct buf *b, int64_t wall_ms); /* 2026-08-31T23:59:59, in UTC */
NODISCARD enum err report_json(const struct run *run, const char *file);
NODISCARD enum err report_html(const struct run *run, const char *file);
NODISCARD enum err report_junit(const struct run *run, const char *file);
/* A report that was written as JSON; json_free it. BAD: something else. */
NODISCARD enum err report_read(const char *file, struct json **out);
/* Prints what got better or worse since then; *worse is the number of rows that got worse. */
NODISCARD enum err report_compare(const struct run *run, const char *old_file, unsigned *worse);

/* A whole file in memory (free it), at most 64 MB. */
NODISCARD enum err file_slurp(const char *path, char **out, size_t *len);
NODISCARD enum err file_spill(const char *path, slice s);

#endif
