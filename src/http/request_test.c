#include "unit.h"

#include "http/request.h"
#include "http/site.h"

static struct http_request req;
static size_t used;

static unsigned read_text(const char *text) {
    slice s = slice_str(text);
    return http_request_read(unit_guard(s.ptr, s.len), &req, &used);
}

#define H "Host: example.org\r\n"

static void reads_a_request(void **state) {
    (void)state;
    assert_int_equal(read_text("GET /app.js?x=1&y=2 HTTP/1.1\r\n" H
                               "Cookie: a=1; __Host-kith=abc\r\nOrigin: https://example.org\r\n"
                               "Accept-Encoding: br, gzip;q=0.5\r\n\r\nrest"),
                     200);
    assert_int_equal(req.method, HTTP_GET);
    assert_slice(req.path, "/app.js");
    assert_slice(req.query, "x=1&y=2");
    assert_slice(req.host, "example.org");
    assert_slice(req.origin, "https://example.org");
    assert_true(req.stays && req.takes_gzip && !req.has_length && !req.is_upgrade);
    slice v;
    assert_true(http_cookie(&req, SLICE("__Host-kith"), &v));
    assert_slice(v, "abc");
    assert_false(http_cookie(&req, SLICE("kith"), &v));
    assert_true(http_query(&req, SLICE("y"), &v));
    assert_slice(v, "2");
    assert_false(http_query(&req, SLICE("z"), &v));
}

static void every_prefix_waits(void **state) {
    (void)state;
    static const char text[] = "POST /api/login/finish HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n";
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(http_request_read(unit_guard(text, n), &req, &used), 0);
    assert_int_equal(read_text(text), 200);
    assert_int_equal(used, sizeof text - 1);
    assert_int_equal(req.content_length, 2);
}

/* RFC 9112 3.2, 5.1, 5.2, 6.1, 6.3, 9.6 and RFC 9110 15.5: what is refused, and with what. */
static void refuses(void **state) {
    (void)state;
    static const struct {
        unsigned status;
        const char *text;
    } rows[] = {
        { 400, "GET / HTTP/1.1\r\n\r\n" },                       /* no Host */
        { 400, "GET / HTTP/1.1\r\n" H H "\r\n" },                /* two */
        { 400, "GET / HTTP/1.1\r\nHost : example.org\r\n\r\n" }, /* white space before ':' */
        { 400, "GET / HTTP/1.1\r\n" H " fold\r\n\r\n" },
        { 400, "GET / HTTP/1.1\n" H "\r\n" }, /* LF alone */
        { 400, "GET / HTTP/1.1\r\n" H "X: a\001b\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\n" H ": none\r\n\r\n" },
        { 400, "GET  / HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /a b HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /../etc/passwd HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /a/./b HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /a/.. HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET //a HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /a//b HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET // HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /%2e%2e/a HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /a%00 HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /a\\b HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET a HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET http://x/ HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET https:///x HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET * HTTP/1.1\r\n" H "\r\n" },
        { 400, "G(T / HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET / HTTX/1.1\r\n" H "\r\n" },
        { 505, "GET / HTTP/2.0\r\n" H "\r\n" },
        { 411, "POST /api HTTP/1.1\r\n" H "\r\n" },
        { 411, "POST /api HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n" },
        { 400, "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" },
        { 400, "POST /a HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\n" },
        { 400, "POST /a HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\n" },
        { 400, "POST /a HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\n" },
        { 413, "POST /a HTTP/1.1\r\n" H "Content-Length: 16385\r\n\r\n" },
        { 413, "POST /a HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\n" H "Cookie: a=1\r\nCookie: b=2\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\n" H "Origin: \r\nOrigin: https://a\r\n\r\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned got = read_text(rows[i].text);
        if (got != rows[i].status) print_error("%u for %s\n", got, rows[i].text);
        assert_int_equal(got, rows[i].status);
    }
}

/* RFC 9112 3.2.4; RFC 9110 9.1: other methods are read, and refused by whoever serves. */
static void reads_other_methods(void **state) {
    (void)state;
    assert_int_equal(read_text("OPTIONS * HTTP/1.1\r\n" H "\r\n"), 200);
    assert_slice(req.path, "*");
    assert_int_equal(read_text("OPTIONS ** HTTP/1.1\r\n" H "\r\n"), 400);
    assert_int_equal(read_text("PUT /a HTTP/1.1\r\n" H "\r\n"), 200);
    assert_int_equal(req.method, HTTP_OTHER);
}

/* RFC 9110 13.1.2: a list, by weak comparison; 8.8.3. */
static void compares_entity_tags(void **state) {
    (void)state;
    slice tag = SLICE("W/\"5e1f\"");
    assert_true(http_etag_is_among(SLICE("W/\"5e1f\""), tag));
    assert_true(http_etag_is_among(SLICE("\"5e1f\""), tag));
    assert_true(http_etag_is_among(SLICE("\"a\", W/\"5e1f\" ,\"b\""), tag));
    assert_true(http_etag_is_among(SLICE(" * "), tag));
    assert_false(http_etag_is_among(SLICE(""), tag));
    assert_false(http_etag_is_among(SLICE("\"5e1\", \"5E1F\", 5e1f, \"*\""), tag));
}

static void knows_its_limits(void **state) {
    (void)state;
    static char text[2 * HTTP_HEAD_MAX];
    struct buf b = buf_over(text, sizeof text);
    buf_lit(&b, "GET /");
    while (b.len < HTTP_TARGET_MAX + 100) buf_byte(&b, 'a');
    assert_int_equal(http_request_read(buf_slice(&b), &req, &used), 414); /* without an end */
    buf_lit(&b, " HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(http_request_read(buf_slice(&b), &req, &used), 414);
    buf_clear(&b);
    buf_lit(&b, "GET / HTTP/1.1\r\n" H);
    for (unsigned i = 1; i < HTTP_HEADERS_MAX; i++) buf_lit(&b, "X: y\r\n");
    struct buf more = b;
    buf_lit(&more, "\r\n");
    assert_int_equal(http_request_read(buf_slice(&more), &req, &used), 200);
    buf_lit(&b, "X: y\r\n\r\n");
    assert_int_equal(http_request_read(buf_slice(&b), &req, &used), 431);
    buf_clear(&b);
    buf_lit(&b, "GET / HTTP/1.1\r\n" H "X: ");
    while (b.len < HTTP_HEAD_MAX) buf_byte(&b, 'y');
    assert_int_equal(http_request_read(buf_slice(&b), &req, &used), 431);
}

/* RFC 9112 9.3 */
static void knows_who_stays(void **state) {
    (void)state;
    assert_int_equal(read_text("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"), 200);
    assert_false(req.stays);
    assert_int_equal(read_text("GET / HTTP/1.0\r\n\r\n"), 200);
    assert_false(req.stays);
    assert_int_equal(read_text("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 200);
    assert_true(req.stays);
}

/* RFC 9112 3.2.2 */
static void takes_the_absolute_form(void **state) {
    (void)state;
    assert_int_equal(read_text("GET https://b.org:8443/x HTTP/1.1\r\n" H "\r\n"), 200);
    assert_slice(req.host, "b.org:8443");
    assert_slice(req.path, "/x");
    assert_int_equal(read_text("GET https://b.org HTTP/1.1\r\n" H "\r\n"), 200);
    assert_slice(req.path, "/");
}

static void judges_origins(void **state) {
    (void)state;
    assert_true(http_origin_is(SLICE("https://Example.org"), SLICE("example.org")));
    assert_true(http_origin_is(SLICE("https://example.org"), SLICE("example.org:443")));
    assert_true(http_origin_is(SLICE("https://[::1]:8443"), SLICE("[::1]:8443")));
    assert_false(http_origin_is(SLICE("http://example.org"), SLICE("example.org")));
    assert_false(http_origin_is(SLICE("https://example.org:8443"), SLICE("example.org")));
    assert_false(http_origin_is(SLICE("https://example.org.evil.com"), SLICE("example.org")));
    assert_false(http_origin_is(SLICE("null"), SLICE("example.org")));
    assert_false(http_origin_is(SLICE("https://"), SLICE("")));
    assert_slice(http_host_name(SLICE("[::1]:8443")), "[::1]");
    assert_slice(http_host_name(SLICE("a.b:1")), "a.b");
}

static void writes_a_head(void **state) {
    (void)state;
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    struct http_answer a = { .status = 404,
                             .type = SLICE("text/plain"),
                             .date = SLICE("Sat, 13 Nov 2010 23:29:00 GMT"),
                             .length = 7,
                             .closes = true };
    http_answer_head(&a, true, &b);
    slice s = buf_slice(&b);
    assert_true(slice_starts(s, SLICE("HTTP/1.1 404 Not Found\r\nDate: Sat, 13 Nov 2010 23:29")));
    assert_true(slice_find_slice(s, SLICE("\r\nContent-Length: 7\r\n")) < s.len);
    assert_true(slice_find_slice(s, SLICE("default-src 'none'; script-src 'self';")) < s.len);
    assert_true(slice_find_slice(s, SLICE("Strict-Transport-Security: max-age=")) < s.len);
    assert_true(slice_find_slice(s, SLICE("\r\nConnection: close\r\n\r\n")) < s.len);
    buf_clear(&b);
    http_answer_head(&(struct http_answer){ .status = 304 }, false, &b);
    s = buf_slice(&b);
    assert_true(slice_find_slice(s, SLICE("Content-Length")) == s.len);
    assert_true(slice_find_slice(s, SLICE("Strict-Transport")) == s.len);
}

static void finds_files(void **state) {
    (void)state;
    static const struct http_file files[] = { { .path = { "/a.js", 5 } },
                                              { .path = { "/index.html", 11 } },
                                              { .path = { "/z", 2 } } };
    const struct http_site site = { files, ARRAY_LEN(files) };
    assert_ptr_equal(http_site_find(&site, SLICE("/")), &files[1]);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_ptr_equal(http_site_find(&site, files[i].path), &files[i]);
    assert_null(http_site_find(&site, SLICE("/b")));
    assert_null(http_site_find(NULL, SLICE("/")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_request),
        cmocka_unit_test(every_prefix_waits),
        cmocka_unit_test(refuses),
        cmocka_unit_test(reads_other_methods),
        cmocka_unit_test(compares_entity_tags),
        cmocka_unit_test(knows_its_limits),
        cmocka_unit_test(knows_who_stays),
        cmocka_unit_test(takes_the_absolute_form),
        cmocka_unit_test(judges_origins),
        cmocka_unit_test(writes_a_head),
        cmocka_unit_test(finds_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
