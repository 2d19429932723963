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
    ":root{color-scheme:light dark;--ink:#1c2530;--soft:#5b6673;--line:#dde3ea;--paper:#fff;"
    "--code:#f4f6f8;--pass:#0a7a3d;--fail:#b3261e;--open:#8a5a00;--frame:#2b6cb0}"
    "@media(prefers-color-scheme:dark){:root{--ink:#dde3ea;--soft:#98a4b1;--line:#333d48;"
    "--paper:#12161b;--code:#1c232b;--pass:#5cc795;--fail:#ff8a80;--open:#e0b04c;--frame:#7db4ee}}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;"
    "color:var(--ink);background:var(--paper)}h1{font-size:1.6rem;overflow-wrap:anywhere}"
    "h2{font-size:1.2rem;margin:2rem 0 .4rem;break-after:avoid}"
    "details{border-top:1px solid var(--line);padding:.3rem 0;break-inside:avoid}"
    "summary{cursor:pointer;display:flex;flex-wrap:wrap;gap:0 1rem}"
    "summary .id{flex:none;width:12rem}summary .text{flex:1 1 24rem}"
    ".saw{flex:1 0 100%;color:var(--soft);overflow-wrap:anywhere}"
    ".pass .id{color:var(--pass)}.fail .id,td.bad{color:var(--fail);font-weight:600}"
    ".inconclusive .id{color:var(--open)}"
    ".not-applicable .id,.none .id{color:var(--soft)}a{color:inherit}"
    "pre{background:var(--code);padding:.6rem;overflow:auto;"
    "font-size:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}"
    "pre.proof{outline:2px solid var(--frame)}"
    ".wide{overflow-x:auto}table{border-collapse:collapse}"
    "td,th{padding:.2rem .8rem .2rem 0;text-align:right;border-bottom:1px solid var(--line)}"
    "td:first-child,th:first-child{text-align:left}"
    "dl{display:grid;grid-template-columns:9rem 1fr;gap:.1rem 1rem}dt{color:var(--soft)}"
    "dd{margin:0;overflow-wrap:anywhere}"
    ".why{margin:.3rem 0 .2rem 1rem}"
    "@media(max-width:40rem){summary .id{width:auto}dl{grid-template-columns:6rem 1fr}"
    "td,th{padding-right:.4rem;font-size:.85rem}}"
    "@media print{@page{size:A4;margin:16mm 14mm}body{margin:0;max-width:none;font-size:10pt}}";

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
    buf_fmt(b, "<div class=why><i>%s</i>: " SLICE_FMT "%s%s", r->test->name, SLICE_ARG(verdict),
            why.len ? ": " : "", r->verdict == VERDICT_NA ? "without " : "");
    put_escaped(b, why);
    buf_lit(b, "</div>\n");
    const struct json *events = json_member(doc, "events");
    for (size_t i = 0; i < json_count(events); i++)
        put_event(b, json_item(events, i), i + 1 == proof);
    json_free(doc);
}

/* The RFC's own section, where the reader can look the sentence up. */
static void put_source(struct buf *b, const struct row *row) {
    buf_lit(b, "<p class=why>");
    if (slice_starts(slice_str(row->source), SLICE("RFC ")) && *row->section) {
        bool letter = *row->section >= 'A';
        buf_fmt(b, "<a href='https://www.rfc-editor.org/rfc/rfc%s#%s-%s'>%s, section %s</a>",
                row->source + 4, letter ? "appendix" : "section", row->section, row->source,
                row->section);
    } else {
        put_escaped(b, slice_str(row->source));
    }
    if (*row->stated) buf_lit(b, " (there: ");
    put_escaped(b, slice_str(row->stated));
    if (*row->stated) buf_lit(b, ")");
    buf_lit(b, ". ");
    put_escaped(b, slice_str(row->why));
    buf_lit(b, "<br><b>How it is tested:</b> ");
    put_escaped(b, slice_str(row->test));
    buf_lit(b, "</p>\n");
}

/* What speaks for its verdict, in the line that is seen without opening it. */
static void put_reasons(struct buf *b, const struct run *run, enum row_id id, enum verdict v) {
    for (unsigned i = 0; v != VERDICT_PASS && i < run->result_count; i++) {
        const struct result *r = &run->results[i];
        struct json *doc;
        if (r->test->row != id || r->verdict != v ||
            json_read(slice_of(r->line, r->len), &(struct json_limits){ PAGE_MAX, 8 }, &doc, NULL))
            continue;
        buf_fmt(b, "<span class=saw>%s: %s", r->test->name, v == VERDICT_NA ? "without " : "");
        put_escaped(b, json_text(json_member(doc, "why")));
        buf_lit(b, "</span>");
        json_free(doc);
    }
}

static void put_row(struct buf *b, const struct run *run, enum row_id id) {
    const struct row *row = &rows[id];
    enum verdict v = row_verdict(run, id);
    buf_fmt(b, "<details class=%s id=%s><summary><b class=id>%s %s</b><span class=text>",
            verdict_name(v), row->id, row->id, row_level_name(row->level));
    put_escaped(b, slice_str(row->text));
    buf_lit(b, "</span>");
    put_reasons(b, run, id, v);
    buf_lit(b, "</summary>");
    put_source(b, row);
    for (unsigned i = 0; i < run->result_count; i++)
        if (run->results[i].test->row == id) put_test(b, &run->results[i]);
    buf_lit(b, "</details>\n");
}

static void put_fact(struct buf *b, const char *name, slice value) {
    if (!value.len) return;
    buf_fmt(b, "<dt>%s<dd>", name);
    put_escaped(b, value);
    buf_lit(b, "\n");
}

/* Of what, by whom and when: a report belongs to a product and its version. */
static void put_head(struct buf *b, const struct run *run) {
    char mem[64], time[64];
    struct buf wires = buf_over(mem, sizeof mem), when = buf_over(time, sizeof time);
    const char *product = run->product ? run->product : "";
    buf_lit(b, "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
               "content='width=device-width,initial-scale=1'><title>Conformance of ");
    put_escaped(b, slice_str(*product ? product : run->target.given));
    buf_lit(b, "</title><style>");
    buf_put(b, slice_str(style));
    buf_lit(b, "</style><h1>Conformance of ");
    put_escaped(b, slice_str(*product ? product : run->target.given));
    buf_lit(b, "</h1><dl>");
    for (enum wire i = 0; i < WIRE_COUNT; i++)
        if (run->target.at[i].family) buf_fmt(&wires, "%s%s", wires.len ? ", " : "", wire_names[i]);
    put_fact(b, "Product", slice_str(product));
    put_fact(b, "Calls itself", slice_str(run->software));
    put_fact(b, "Role", slice_str(report_role(run)));
    put_fact(b, run->phone ? "Tester at" : "Target", slice_str(run->target.given));
    put_fact(b, "Transports", buf_slice(&wires));
    report_put_time(&when, run->started_wall);
    buf_lit(&when, " UTC");
    put_fact(b, "Tested", buf_slice(&when));
    put_fact(b, "Against", SLICE(REPORT_PROFILE));
    put_fact(b, "By", SLICE("kith check " KITH_VERSION));
    buf_lit(b, "</dl>\n");
}

static void put_counts(struct buf *b, const char *name, const struct row_count *c) {
    buf_fmt(b, "<tr><td>%s<td>%u<td%s>%u<td>%u<td>%u<td>%u</tr>\n", name, c->pass,
            c->fail ? " class=bad" : "", c->fail, c->unclear, c->na, c->untested);
}

static void put_scores(struct buf *b, const struct run *run) {
    static const char head[] =
        "<th>pass<th>fail<th>inconclusive<th>not applicable<th>not tested</tr>\n";
    struct score s;
    report_score(run, &s);
    buf_fmt(b, "<div class=wide><table><tr><th>requirements%s", head);
    for (unsigned l = 0; l < ARRAY_LEN(s.levels); l++)
        put_counts(b, row_level_name(l), &s.levels[l]);
    buf_lit(b, "</table></div><p>What is inconclusive or not tested is not passed. Open a "
               "requirement to see the messages; the framed one decided.</p>\n"
               "<details><summary>By area</summary><div class=wide><table>");
    buf_fmt(b, "<tr><th>area%s", head);
    for (unsigned r = 0; r < ROW_COUNT; r++) {
        if (r && is(slice_str(rows[r - 1].area), rows[r].area)) continue;
        struct row_count c = report_area(run, rows[r].area);
        if (c.pass + c.fail + c.na + c.unclear + c.untested) put_counts(b, rows[r].area, &c);
    }
    buf_lit(b, "</table></div></details>\n");
}

static void put_page(struct buf *b, const struct run *run) {
    static const struct {
        enum verdict v;
        const char *title;
    } parts[] = { { VERDICT_FAIL, "Failed" },
                  { VERDICT_INCONCLUSIVE, "Inconclusive" },
                  { VERDICT_PASS, "Passed" },
                  { VERDICT_NA, "Not applicable" },
                  { VERDICT_NONE, "Not tested in this run" } };
    put_head(b, run);
    put_scores(b, run);
    for (unsigned p = 0; p < ARRAY_LEN(parts); p++) {
        bool first = true;
        for (unsigned r = 0; r < ROW_COUNT; r++) {
            if (row_verdict(run, r) != parts[p].v) continue;
            if (!parts[p].v && !row_untested(run, r)) continue;
            if (first) buf_fmt(b, "<h2>%s</h2>\n", parts[p].title);
            first = false;
            put_row(b, run, r);
        }
    }
    buf_lit(b, "</html>\n");
}

/* ---- JUnit ----------------------------------------------------------------------------------- */

/* What could not be judged is an error there, so that no dashboard takes it for passed. */
static void put_case(struct buf *b, const struct result *r) {
    static const char *const words[] = { "error", "", "failure", "skipped", "error" };
    const struct row *row = &rows[r->test->row];
    struct json *doc = NULL;
    uint64_t ms = 0;
    (void)!json_read(slice_of(r->line, r->len), &(struct json_limits){ PAGE_MAX, 8 }, &doc, NULL);
    (void)!json_u64(json_member(doc, "ms"), UINT64_MAX >> 1, &ms);
    buf_fmt(b, "<testcase classname=\"%s\" name=\"%s\" time=\"%llu.%03llu\">", row->id,
            r->test->name, (unsigned long long)ms / 1000, (unsigned long long)ms % 1000);
    const char *word = words[r->verdict];
    if (*word) buf_fmt(b, "<%s message=\"%s", word, r->verdict == VERDICT_NA ? "without " : "");
    if (*word) put_escaped(b, json_text(json_member(doc, "why")));
    if (r->verdict == VERDICT_NA) {
        buf_lit(b, "\"/>");
    } else if (*word) {
        buf_fmt(b, "\" type=\"%s\">", row_level_name(row->level));
        put_escaped(b, slice_str(row->text));
        buf_fmt(b, " (%s%s%s)</%s>", row->source, *row->section ? ", " : "", row->section, word);
    }
    buf_lit(b, "</testcase>\n");
    json_free(doc);
}

/* The attributes and parts that the strictest of the usual schemas asks for. */
static void put_junit(struct buf *b, const struct run *run) {
    unsigned of[5] = { 0 };
    char mem[64];
    struct buf when = buf_over(mem, sizeof mem);
    for (unsigned i = 0; i < run->result_count; i++) of[run->results[i].verdict]++;
    report_put_time(&when, run->started_wall);
    buf_fmt(
        b,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
        "<testsuite name=\"kith check %s\" package=\"kith.check\" id=\"0\" tests=\"%u\" "
        "failures=\"%u\" errors=\"%u\" skipped=\"%u\" time=\"%lld.%03lld\" timestamp=\"" SLICE_FMT
        "\" hostname=\"",
        report_role(run), run->result_count, of[VERDICT_FAIL],
        of[VERDICT_INCONCLUSIVE] + of[VERDICT_NONE], of[VERDICT_NA], (long long)run->took_ms / 1000,
        (long long)run->took_ms % 1000, SLICE_ARG(buf_slice(&when)));
    put_escaped(b, slice_str(run->target.host));
    buf_lit(b, "\">\n<properties>\n");
    const struct {
        const char *name, *value;
    } facts[] = { { "target", run->target.given },
                  { "product", run->product ? run->product : "" },
                  { "software", run->software },
                  { "profile", REPORT_PROFILE },
                  { "tester", "kith " KITH_VERSION } };
    for (unsigned i = 0; i < ARRAY_LEN(facts); i++) {
        buf_fmt(b, "<property name=\"%s\" value=\"", facts[i].name);
        put_escaped(b, slice_str(facts[i].value));
        buf_lit(b, "\"/>\n");
    }
    buf_lit(b, "</properties>\n");
    for (unsigned i = 0; i < run->result_count; i++) put_case(b, &run->results[i]);
    buf_lit(b, "<system-out/>\n<system-err/>\n</testsuite>\n</testsuites>\n");
}

static enum err put_file(const struct run *run, const char *file,
                         void (*put)(struct buf *b, const struct run *run)) {
    size_t room = 2u << 20; /* what the profile says of each requirement */
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
