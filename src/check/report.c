/* check/report.c - the line of a test, the JSON file, the terminal, what came of it. */
#include "check/report.h"

#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX (64u << 20)
#define FORMAT   "kith-check-1"

/* ---- files -------------------------------------------------------------------------------- */

enum err file_slurp(const char *path, char **out, size_t *len) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? ERR_MISSING : ERR_IO;
    char *mem = mem_alloc(FILE_MAX);
    size_t n = 0;
    ssize_t got = mem ? 1 : -1;
    while (got > 0 && n < FILE_MAX) {
        got = read(fd, mem + n, FILE_MAX - n);
        if (got > 0) n += (size_t)got;
    }
    (void)close(fd);
    if (got != 0) {
        mem_free(mem);
        return n == FILE_MAX ? ERR_LIMIT : ERR_IO;
    }
    *out = mem;
    *len = n;
    return ERR_OK;
}

static enum err spill(int fd, slice s) {
    while (s.len) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n < 0 && errno != EINTR) return ERR_IO;
        if (n > 0) s = slice_from(s, (size_t)n);
    }
    return ERR_OK;
}

enum err file_spill(const char *path, slice s) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return ERR_IO;
    enum err e = spill(fd, s);
    return close(fd) == 0 ? e : ERR_IO;
}

/* ---- the line of a test ------------------------------------------------------------------- */

static bool blank(char c) {
    return c == ' ' || c == '\t';
}

/* The value of response="..." or rspauth="...", however it is written. */
static void mask_parameter(char *copy, size_t len, slice name) {
    for (size_t i = 1; i + name.len < len; i++) {
        bool begins = blank(copy[i - 1]) || copy[i - 1] == ',' || copy[i - 1] == '\n';
        if (!begins || !slice_istarts(slice_of(copy + i, len - i), name)) continue;
        size_t at = i + name.len;
        while (at < len && blank(copy[at])) at++;
        if (at == len || copy[at++] != '=') continue;
        while (at < len && (blank(copy[at]) || copy[at] == '"')) at++;
        for (; at < len && !strchr("\",\r\n", copy[at]); at++) copy[at] = 'x';
    }
}

/* Basic is the password itself, Bearer a token that logs its finder in: all behind the word. */
static void mask_credentials(char *copy, size_t len) {
    static const char *const lines[] = { "Authorization", "Proxy-Authorization" };
    slice rest = slice_of(copy, len), line;
    while (slice_split(&rest, '\n', &line)) {
        size_t colon = slice_find(line, ':');
        slice name = slice_trim(slice_head(line, colon));
        if (!is_i(name, lines[0]) && !is_i(name, lines[1])) continue;
        slice value = slice_trim(slice_from(line, colon < line.len ? colon + 1 : colon));
        if (slice_istarts(value, SLICE("Digest"))) continue;
        slice secret = slice_from(value, slice_find(value, ' '));
        memset(copy + (secret.ptr - copy), 'x', secret.len);
    }
}

/* RFC 8489 14.5, 14.6: MESSAGE-INTEGRITY, and with SHA-256. */
static void mask_stun(uint8_t *copy, size_t len) {
    static const uint8_t cookie[] = { 0x21, 0x12, 0xa4, 0x42 };
    if (len < 20 || copy[0] > 3 || memcmp(copy + 4, cookie, sizeof cookie) != 0) return;
    for (size_t at = 20; at + 4 <= len;) {
        size_t type = (size_t)copy[at] << 8 | copy[at + 1];
        size_t n = (size_t)copy[at + 2] << 8 | copy[at + 3], left = len - at - 4;
        if (type == 0x0008 || type == 0x001c) memset(copy + at + 4, 0, n < left ? n : left);
        at += 4 + ((n + 3) & ~(size_t)3);
    }
}

/* A report is shared: what was computed from a password would let others guess at it. */
static void mask(slice s, char *copy) {
    memcpy(copy, s.ptr, s.len);
    mask_parameter(copy, s.len, SLICE("response"));
    mask_parameter(copy, s.len, SLICE("rspauth"));
    mask_credentials(copy, s.len);
    mask_stun((uint8_t *)copy, s.len);
}

/* Bytes that are no text (STUN) go as hexadecimal digits: JSON readers refuse NUL. */
static bool binary(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] >= 0 && s.ptr[i] < 9) return true;
    return false;
}

static void put_hex(slice s, struct json_writer *w) {
    char mem[2048];
    struct buf b = buf_over(mem, sizeof mem);
    buf_lit(&b, "hex ");
    buf_hex(&b, s.ptr, s.len < 1000 ? s.len : 1000);
    json_put_text(w, "text", buf_slice(&b));
}

static void put_events(const struct test *t, struct json_writer *w, char *scratch) {
    json_begin_array(w, "events");
    for (unsigned i = 0; i < t->event_count; i++) {
        const struct event *e = &t->events[i];
        char kind[2] = { e->kind, 0 };
        mask(e->bytes, scratch);
        json_begin_object(w, NULL);
        json_put_i64(w, "ms", e->ms);
        json_put_str(w, "kind", kind);
        json_put_str(w, "who", e->who);
        if (binary(e->bytes)) {
            put_hex(slice_of(scratch, e->bytes.len), w);
        } else {
            json_put_text(w, "text", slice_of(scratch, e->bytes.len));
        }
        json_end(w);
    }
    json_end(w);
}

void report_line(const struct test *t, struct result *out) {
    size_t room = 4096;
    for (unsigned i = 0; i < t->event_count; i++) room += t->events[i].bytes.len * 6 + 128;
    char *mem = mem_alloc(room), *scratch = mem_alloc(EVENT_BYTES_MAX + 1), id[128];
    struct buf b = buf_over(mem, mem ? room : 0);
    struct json_writer w = json_over(&b);
    if (mem && scratch) {
        json_begin_object(&w, NULL);
        json_put_str(&w, "test", test_id(t->what, id));
        json_put_str(&w, "row", rows[t->what->row].id);
        json_put_str(&w, "verdict", verdict_name(t->verdict));
        json_put_str(&w, "why", t->why);
        json_put_u64(&w, "proof", t->proof);
        json_put_i64(&w, "ms", test_ms(t));
        put_events(t, &w, scratch);
        json_end(&w);
    }
    mem_free(scratch);
    if (mem && !b.full && (out->line = mem_dup(mem, b.len))) out->len = b.len;
    mem_free(mem);
    if (out->line && t->run->part >= 0 &&
        (spill(t->run->part, slice_of(out->line, out->len)) != ERR_OK ||
         spill(t->run->part, SLICE("\n")) != ERR_OK))
        (void)fprintf(stderr, "kith check: the .part file cannot be written\n");
}

static slice part_head(const struct run *run, struct buf *b) {
    struct json_writer w = json_over(b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "part", FORMAT);
    json_put_str(&w, "tester", "kith " KITH_VERSION);
    json_put_str(&w, "role", report_role(run));
    json_put_str(&w, "target", run->target.given);
    json_end(&w);
    return buf_slice(b);
}

void report_part_head(const struct run *run) {
    char mem[2048];
    struct buf b = buf_over(mem, sizeof mem);
    if (spill(run->part, part_head(run, &b)) != ERR_OK || spill(run->part, SLICE("\n")) != ERR_OK)
        (void)fprintf(stderr, "kith check: the .part file cannot be written\n");
}

enum err report_resume(struct run *run, const char *part_file) {
    char *mem, head[2048];
    struct buf b = buf_over(head, sizeof head);
    size_t len;
    enum err e = file_slurp(part_file, &mem, &len);
    if (e != ERR_OK) return e;
    slice rest = slice_of(mem, len), line;
    if (!slice_split(&rest, '\n', &line) || !slice_eq(line, part_head(run, &b))) {
        mem_free(mem);
        return ERR_BAD;
    }
    while (slice_split(&rest, '\n', &line)) {
        struct json *doc;
        char id[128];
        if (json_read(line, &(struct json_limits){ FILE_MAX, 8 }, &doc, NULL) != ERR_OK) continue;
        for (unsigned i = 0; i < run->todo_count; i++) {
            if (run->taken[i] ||
                !is(json_text(json_member(doc, "test")), test_id(run->todo[i], id)))
                continue;
            struct result r = { run->todo[i], VERDICT_NONE, mem_dup(line.ptr, line.len), line.len };
            for (enum verdict v = VERDICT_PASS; v <= VERDICT_INCONCLUSIVE; v++)
                if (is(json_text(json_member(doc, "verdict")), verdict_name(v))) r.verdict = v;
            run->taken[i] = r.line != NULL && r.verdict;
            if (run->taken[i]) run->results[run->result_count++] = r;
        }
        json_free(doc);
    }
    mem_free(mem);
    return ERR_OK;
}

/* ---- what came of it ---------------------------------------------------------------------- */

enum verdict row_verdict(const struct run *run, enum row_id row) {
    static const unsigned weight[] = { 0, 2, 4, 1, 3 }; /* none, pass, fail, na, inconclusive */
    enum verdict worst = VERDICT_NONE;
    for (unsigned i = 0; i < run->result_count; i++) {
        const struct result *r = &run->results[i];
        if (r->test->row == row && weight[r->verdict] > weight[worst]) worst = r->verdict;
    }
    return worst;
}

bool row_untested(const struct run *run, enum row_id row) {
    return (rows[row].roles & run->role) && row_verdict(run, row) == VERDICT_NONE;
}

const char *report_role(const struct run *run) {
    if (run->role & ROLE_LISTENS) return "pbx";
    return run->role == ROLE_PHONE     ? "phone"
           : run->role == ROLE_SERVER  ? "server"
           : run->role == ROLE_TRUNK   ? "trunk"
           : run->role == ROLE_BROWSER ? "browser"
                                       : "relay";
}

static void count(struct row_count *c, enum verdict v) {
    c->pass += v == VERDICT_PASS;
    c->fail += v == VERDICT_FAIL;
    c->na += v == VERDICT_NA;
    c->unclear += v == VERDICT_INCONCLUSIVE;
}

void report_progress(struct run *run, const struct result *r) {
    static const char *const marks[] = { "?", "ok", "FAIL", "n/a", "unclear" };
    if (run->quiet) return;
    char id[128];
    struct json *doc = NULL;
    if (r->line)
        (void)!json_read(slice_of(r->line, r->len), &(struct json_limits){ FILE_MAX, 8 }, &doc,
                         NULL);
    slice why = json_text(json_member(doc, "why"));
    (void)printf("[%3u/%3u] %-7s %-44s %s" SLICE_FMT "\n", run->result_count, run->todo_count,
                 marks[r->verdict], test_id(r->test, id),
                 r->verdict == VERDICT_NA ? "without: " : "", SLICE_ARG(why));
    (void)fflush(stdout);
    json_free(doc);
}

struct row_count report_area(const struct run *run, const char *area) {
    struct row_count one = { 0 };
    for (unsigned r = 0; r < ROW_COUNT; r++) {
        if (!is(slice_str(rows[r].area), area)) continue;
        count(&one, row_verdict(run, r));
        one.untested += row_untested(run, r);
    }
    return one;
}

void report_score(const struct run *run, struct score *out) {
    *out = (struct score){ 0 };
    for (unsigned r = 0; r < ROW_COUNT; r++) {
        count(&out->levels[rows[r].level], row_verdict(run, r));
        out->levels[rows[r].level].untested += row_untested(run, r);
    }
}

/* What the eye lost among the lines that passed. */
static void print_troubles(const struct run *run, enum verdict v, const char *title) {
    bool first = true;
    for (unsigned i = 0; i < run->result_count; i++) {
        const struct result *r = &run->results[i];
        struct json *doc;
        char id[128];
        if (r->verdict != v ||
            json_read(slice_of(r->line, r->len), &(struct json_limits){ FILE_MAX, 8 }, &doc, NULL))
            continue;
        if (first) (void)printf("\n  %s\n", title);
        first = false;
        slice why = json_text(json_member(doc, "why"));
        const struct row *row = &rows[r->test->row];
        (void)printf("  %-6s %s: " SLICE_FMT "\n         %s (%s%s%s)\n", row_level_name(row->level),
                     test_id(r->test, id), SLICE_ARG(why), row->text, row->source,
                     *row->section ? ", " : "", row->section);
        json_free(doc);
    }
}

static void print_level(enum row_level l, const struct row_count *c) {
    unsigned judged = c->pass + c->fail + c->unclear;
    if (judged + c->na == 0) return;
    if (judged)
        (void)printf("  %-6s %3u of %3u (%u %%) of what applies", row_level_name(l), c->pass,
                     judged, c->pass * 100 / judged);
    if (!judged) (void)printf("  %-6s nothing that was tested applies", row_level_name(l));
    if (c->untested) (void)printf("; %u more not tested", c->untested);
    (void)printf("\n");
}

void report_summary(const struct run *run) {
    struct score s;
    if (run->quiet) return;
    print_troubles(run, VERDICT_INCONCLUSIVE, "Could not be judged:");
    print_troubles(run, VERDICT_FAIL, "Failed:");
    (void)printf("\n  area              pass  fail  unclear   n/a  not tested  (requirements)\n");
    for (unsigned r = 0; r < ROW_COUNT; r++) {
        if (r && is(slice_str(rows[r - 1].area), rows[r].area)) continue; /* they stand together */
        struct row_count c = report_area(run, rows[r].area);
        if (c.pass + c.fail + c.na + c.unclear)
            (void)printf("  %-16s %5u %5u %8u %5u %11u\n", rows[r].area, c.pass, c.fail, c.unclear,
                         c.na, c.untested);
    }
    report_score(run, &s);
    for (unsigned l = 0; l < ARRAY_LEN(s.levels); l++) print_level(l, &s.levels[l]);
    (void)printf("  %u tests in %lld.%lld s\n", run->result_count, (long long)run->took_ms / 1000,
                 (long long)run->took_ms / 100 % 10);
}

void report_put_time(struct buf *b, int64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char mem[40];
    size_t len = gmtime_r(&seconds, &tm) ? strftime(mem, sizeof mem, "%Y-%m-%dT%H:%M:%S", &tm) : 0;
    buf_put(b, slice_of(mem, len));
}

/* ---- the file ----------------------------------------------------------------------------- */

static void put_head(const struct run *run, struct json_writer *w) {
    static const char *const wires[WIRE_COUNT] = { "udp", "tcp", "tls", "wss" };
    struct score s;
    report_score(run, &s);
    json_put_str(w, "format", FORMAT);
    json_put_str(w, "tester", "kith " KITH_VERSION);
    json_put_str(w, "profile", REPORT_PROFILE);
    json_put_str(w, "role", report_role(run));
    json_put_str(w, "product", run->product ? run->product : "");
    json_put_str(w, "software", run->software);
    json_put_str(w, "target", run->target.given);
    json_put_str(w, "domain", run->target.domain);
    json_put_wall(w, "started", run->started_wall);
    json_put_i64(w, "took_ms", run->took_ms);
    json_begin_array(w, "transports");
    for (enum wire i = 0; i < WIRE_COUNT; i++)
        if (run->target.at[i].family) json_put_str(w, NULL, wires[i]);
    json_end(w);
    json_begin_object(w, "score");
    for (unsigned l = 0; l < 3; l++) {
        json_begin_object(w, row_level_name(l));
        json_put_u64(w, "pass", s.levels[l].pass);
        json_put_u64(w, "fail", s.levels[l].fail);
        json_put_u64(w, "inconclusive", s.levels[l].unclear);
        json_put_u64(w, "not-applicable", s.levels[l].na);
        json_put_u64(w, "not-tested", s.levels[l].untested);
        json_end(w);
    }
    json_end(w);
    json_begin_object(w, "rows");
    for (unsigned r = 0; r < ROW_COUNT; r++)
        if (row_verdict(run, r)) json_put_str(w, rows[r].id, verdict_name(row_verdict(run, r)));
    json_end(w);
    json_begin_array(w, "not_tested");
    for (unsigned r = 0; r < ROW_COUNT; r++)
        if (row_untested(run, r)) json_put_str(w, NULL, rows[r].id);
    json_end(w);
}

enum err report_json(const struct run *run, const char *file) {
    size_t room = 65536;
    for (unsigned i = 0; i < run->result_count; i++) room += run->results[i].len + 2;
    char *mem = mem_alloc(room);
    if (!mem) return ERR_MEMORY;
    struct buf b = buf_over(mem, room);
    struct json_writer w = json_over(&b);
    json_begin_object(&w, NULL);
    put_head(run, &w);
    json_begin_array(&w, "tests");
    for (unsigned i = 0; i < run->result_count; i++) {
        json_put_raw(&w, NULL, slice_of(run->results[i].line, run->results[i].len));
        buf_lit(&b, "\n");
    }
    json_end(&w);
    json_end(&w);
    enum err e = b.full ? ERR_FULL : file_spill(file, buf_slice(&b));
    mem_free(mem);
    return e;
}

/* ---- comparing ---------------------------------------------------------------------------- */

static int rank(slice verdict) { /* higher is better; -1: not judged */
    return is(verdict, "pass") ? 2 : is(verdict, "inconclusive") ? 1 : is(verdict, "fail") ? 0 : -1;
}

enum err report_read(const char *file, struct json **out) {
    char *mem;
    size_t len;
    enum err e = file_slurp(file, &mem, &len);
    if (e != ERR_OK) return e;
    e = json_read(slice_of(mem, len), &(struct json_limits){ FILE_MAX, 16 }, out, NULL);
    mem_free(mem);
    if (e != ERR_OK || is(json_text(json_member(*out, "format")), FORMAT)) return e;
    json_free(*out);
    *out = NULL;
    return ERR_BAD;
}

enum err report_compare(const struct run *run, const char *old_file, unsigned *worse) {
    struct json *doc;
    unsigned changes = 0, gone = 0;
    *worse = 0;
    enum err e = report_read(old_file, &doc);
    if (e != ERR_OK) return e;
    const struct json *old = json_member(doc, "rows");
    slice then = json_text(json_member(doc, "started")), of = json_text(json_member(doc, "target"));
    (void)printf("\n  Since " SLICE_FMT " (" SLICE_FMT "):\n", SLICE_ARG(then), SLICE_ARG(of));
    for (unsigned r = 0; r < ROW_COUNT; r++) {
        slice was = json_text(json_member(old, rows[r].id));
        slice now = slice_str(verdict_name(row_verdict(run, r)));
        gone += was.len && is(now, "none");
        if (is(now, "none") || slice_eq(was, now)) continue;
        bool judged = rank(was) >= 0 && rank(now) >= 0;
        bool bad = judged && rank(now) < rank(was);
        *worse += bad;
        changes++;
        (void)printf("  %-9s %s: " SLICE_FMT " -> " SLICE_FMT "\n",
                     bad       ? "WORSE"
                     : judged  ? "better"
                     : was.len ? "changed"
                               : "new",
                     rows[r].id, SLICE_ARG(was.len ? was : SLICE("not tested")), SLICE_ARG(now));
    }
    if (!changes) (void)printf("  nothing became better or worse\n");
    if (gone) (void)printf("  %u requirements that were tested then were not tested now\n", gone);
    json_free(doc);
    return ERR_OK;
}
