/* check/report_page.c - the report as one HTML file, and as JUnit XML. */
#include "check/report.h"

#include "base/mem.h"
#include <stdio.h>

#define PAGE_MAX (96u << 20)

static void put_escaped(struct buf *b, slice s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '<') {
            buf_lit(b, "&lt;");
        } else if (c == '>') {
            buf_lit(b, "&gt;");
        } else if (c == '&') {
            buf_lit(b, "&amp;");
        } else if (c == '"') {
            buf_lit(b, "&quot;");
        } else if (c >= 32 || c == '\n' || c == '\t') {
            buf_byte(b, (char)c);
        } else if (c != '\r') {
            buf_lit(b, "\xef\xbf\xbd"); /* no control characters in HTML or XML */
        }
    }
}

static const char style[] =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;"
    "color:#1c2530;background:#fff}h1{font-size:1.6rem}details{border-top:1px solid #dde3ea;"
    "padding:.3rem 0}summary{cursor:pointer;display:flex;gap:1rem}summary b{min-width:7.5rem}"
    ".id{flex:none;width:12rem}"
    ".pass b{color:#0a7a3d}.fail b{color:#b3261e}.inconclusive b{color:#8a5a00}"
    ".not-applicable b{color:#5b6673}pre{background:#f4f6f8;padding:.6rem;overflow:auto;"
    "font-size:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}pre.proof{outline:2px solid "
    "#2b6cb0}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}"
    "td:first-child,th:first-child{text-align:left}.why{margin:.2rem 0 .2rem 1rem}"
    "@media(prefers-color-scheme:dark){body{background:#12161b;color:#dde3ea}pre{background:#"
    "1c232b}}";

static void put_event(struct buf *b, const struct json *e, bool proof) {
    static const char *const arrows[] = { "tester sends, as ", "tester receives, as ", "" };
    uint64_t ms = 0;
    (void)!json_u64(json_member(e, "ms"), UINT64_MAX >> 1, &ms);
    slice kind = json_text(json_member(e, "kind"));
    buf_fmt(b, "<pre%s>", proof ? " class=proof" : "");
    buf_fmt(b, "%llu ms: %s", (unsigned long long)ms,
            arrows[is(kind, ">")   ? 0
                   : is(kind, "<") ? 1
                                   : 2]);
    if (!is(kind, ".")) put_escaped(b, json_text(json_member(e, "who")));
    buf_lit(b, "\n");
    put_escaped(b, json_text(json_member(e, "text")));
    buf_lit(b, "</pre>\n");
}

static void put_test(struct buf *b, const struct result *r) {
    struct json *doc;
    if (json_read(slice_of(r->line, r->len), &(struct json_limits){ PAGE_MAX, 8 }, &doc, NULL) !=
        ERR_OK)
        return;
    uint64_t proof = 0;
    (void)!json_u64(json_member(doc, "proof"), EVENTS_MAX, &proof);
    slice verdict = json_text(json_member(doc, "verdict")),
          why = json_text(json_member(doc, "why"));
    buf_fmt(b, "<div class=why><i>%s</i>: " SLICE_FMT "%s", r->test->name, SLICE_ARG(verdict),
            why.len ? ": " : "");
    put_escaped(b, why);
    buf_lit(b, "</div>\n");
    const struct json *events = json_member(doc, "events");
    for (size_t i = 0; i < json_count(events); i++)
        put_event(b, json_item(events, i), i + 1 == proof);
    json_free(doc);
}

static void put_row(struct buf *b, const struct run *run, enum row_id id) {
    const struct row *row = &rows[id];
    const char *v = verdict_name(row_verdict(run, id));
    buf_fmt(b, "<details class=%s id=%s><summary><b>%s</b><span class=id>%s %s</span><span>", v,
            row->id, v, row->id, row_level_name(row->level));
    put_escaped(b, slice_str(row->text));
    buf_fmt(b, "</span></summary><p class=why>%s %s</p>\n", row->source, row->section);
    for (unsigned i = 0; i < run->result_count; i++)
        if (run->results[i].test->row == id) put_test(b, &run->results[i]);
    buf_lit(b, "</details>\n");
}

static void put_page(struct buf *b, const struct run *run) {
    struct score s;
    struct run silent = *run;
    silent.quiet = true;
    report_summary(&silent, &s);
    buf_lit(b, "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
               "content='width=device-width'><title>Conformance report</title><style>");
    buf_put(b, slice_str(style));
    buf_lit(b, "</style><h1>Conformance of ");
    put_escaped(b, slice_str(run->target.given));
    buf_lit(b, "</h1><p>Voice 3.0 profile, edition 2026, tested by kith " KITH_VERSION
               ". Open a requirement to see the messages; the framed one decided.</p><table>"
               "<tr><th>level<th>pass<th>fail<th>inconclusive<th>not applicable</tr>");
    for (unsigned l = 0; l < 3; l++)
        buf_fmt(b, "<tr><td>%s<td>%u<td>%u<td>%u<td>%u</tr>", row_level_name(l), s.levels[l].pass,
                s.levels[l].fail, s.levels[l].unclear, s.levels[l].na);
    buf_lit(b, "</table>\n");
    static const enum verdict order[] = { VERDICT_FAIL, VERDICT_INCONCLUSIVE, VERDICT_PASS,
                                          VERDICT_NA };
    for (unsigned o = 0; o < ARRAY_LEN(order); o++) {
        bool first = true;
        for (unsigned r = 0; r < ROW_COUNT; r++) {
            if (row_verdict(run, r) != order[o]) continue;
            if (first) buf_fmt(b, "<h2>%s</h2>\n", verdict_name(order[o]));
            first = false;
            put_row(b, run, r);
        }
    }
    buf_lit(b, "</html>\n");
}

static void put_junit(struct buf *b, const struct run *run) {
    buf_lit(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"kith check\">\n");
    for (unsigned i = 0; i < run->result_count; i++) {
        const struct result *r = &run->results[i];
        struct json *doc = NULL;
        uint64_t ms = 0;
        (void)!json_read(slice_of(r->line, r->len), &(struct json_limits){ PAGE_MAX, 8 }, &doc,
                         NULL);
        (void)!json_u64(json_member(doc, "ms"), UINT64_MAX >> 1, &ms);
        buf_fmt(b, "<testcase classname=\"%s\" name=\"%s\" time=\"%llu.%03llu\">",
                rows[r->test->row].id, r->test->name, (unsigned long long)ms / 1000,
                (unsigned long long)ms % 1000);
        if (r->verdict != VERDICT_PASS) {
            buf_fmt(b, "<%s message=\"%s", r->verdict == VERDICT_FAIL ? "failure" : "skipped",
                    r->verdict == VERDICT_FAIL ? "" : verdict_name(r->verdict));
            if (r->verdict != VERDICT_FAIL) buf_lit(b, ": ");
            put_escaped(b, json_text(json_member(doc, "why")));
            buf_lit(b, "\"/>");
        }
        buf_lit(b, "</testcase>\n");
        json_free(doc);
    }
    buf_lit(b, "</testsuite>\n");
}

static enum err put_file(const struct run *run, const char *file,
                         void (*put)(struct buf *b, const struct run *run)) {
    size_t room = 1u << 20;
    for (unsigned i = 0; i < run->result_count; i++) room += run->results[i].len * 3 + 2048;
    char *mem = mem_alloc(room);
    if (!mem) return ERR_MEMORY;
    struct buf b = buf_over(mem, room);
    put(&b, run);
    enum err e = b.full ? ERR_FULL : file_spill(file, buf_slice(&b));
    mem_free(mem);
    return e;
}

enum err report_html(const struct run *run, const char *file) {
    return put_file(run, file, put_page);
}

enum err report_junit(const struct run *run, const char *file) {
    return put_file(run, file, put_junit);
}
