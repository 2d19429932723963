#include "unit.h"

#include "registrar/registrar.h"
#include "sip/hdr.h"
#include "sip/token.h"

#define NOW   ((wall_t)1700000000000) /* Tue, 14 Nov 2023 22:13:20 GMT */
#define RUN   7u
#define ALICE 5u
#define UUID  "urn:uuid:00000000-0000-1000-8000-aabbccddeeff"

static const struct hash_key key = { 3, 4 };

/* A registrar, its clock, and the last answer. */
struct desk {
    struct location *l;
    struct registrar_limits limits;
    struct registrar_request req;
    struct arena arena;
    struct registrar_answer out;
    struct store *store;
    wall_t now;
    const char *uri, *call_id, *top;
    uint32_t cseq;
};

static struct desk *desk_new(void) {
    static struct desk d;
    d = (struct desk){ .limits = { 60, 86400, 3600, 4, false },
                       .now = NOW,
                       .uri = "sip:example.org",
                       .call_id = "call-1" };
    d.l = location_new(1000, &key, RUN);
    assert_non_null(d.l);
    d.req = (struct registrar_request){
        .account_id = ALICE, .flow = flow_id_make(1, 2, 3), .run = RUN, .secure = true
    };
    arena_init(&d.arena, 1 << 20);
    d.store = store_memory_new();
    assert_non_null(d.store);
    const struct store_change alice = { .op = STORE_ACCOUNT_PUT, .account = { .id = ALICE } };
    assert_ok(store_commit(d.store, &alice, 1));
    return &d;
}

static void desk_free(struct desk *d) {
    location_free(d->l);
    arena_fini(&d->arena);
    store_close(d->store);
}

static enum err ask(struct desk *d, const char *lines) {
    static char text[16384];
    static struct sip_msg msg;
    int n = snprintf(text, sizeof text,
                     "REGISTER %s SIP/2.0\r\n%s"
                     "Via: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKx\r\n"
                     "From: <sip:alice@example.org>;tag=f\r\n"
                     "To: <sip:alice@example.org>\r\n"
                     "Call-ID: %s\r\n"
                     "CSeq: %u REGISTER\r\n"
                     "Max-Forwards: 70\r\n"
                     "User-Agent: Phone 1\r\n"
                     "%s"
                     "Content-Length: 0\r\n\r\n",
                     d->uri, d->top ? d->top : "", d->call_id, d->cseq, lines);
    assert_true(n > 0 && (size_t)n < sizeof text);
    struct sip_read r = sip_msg_read(&msg, unit_guard(text, (size_t)n), SIP_STREAM);
    if (r.err != ERR_OK) print_error("%s\n%s\n", sip_bad_text(r.why), text);
    assert_ok(r.err);
    d->req.msg = &msg;
    arena_reset(&d->arena);
    return registrar_register(d->l, &d->limits, &d->req, d->now, &d->arena, &d->out);
}

/* The next REGISTER of this phone: its status. Changes reach the store at once. */
static unsigned reg(struct desk *d, const char *lines) {
    d->cseq++;
    assert_ok(ask(d, lines));
    const struct registrar_answer *a = &d->out;
    if (a->change_count) assert_ok(store_commit(d->store, a->changes, a->change_count));
    for (unsigned i = 0; a->must_commit && i < a->change_count; i++)
        registrar_committed(d->l, ALICE, a->changes[i].binding.bid, a->changes[i].binding.change,
                            ERR_OK);
    if (a->status != 200) {
        assert_int_equal(a->change_count, 0);
        assert_false(a->must_commit);
        assert_non_null(a->reason);
    }
    return a->status;
}

static bool says(const struct desk *d, const char *line) {
    char whole[1024];
    int n = snprintf(whole, sizeof whole, "%s\r\n", line);
    size_t at = slice_find_slice(d->out.headers, slice_of(whole, (size_t)n));
    if (at == d->out.headers.len)
        print_message("no \"%s\" in:\n" SLICE_FMT "\n", line, SLICE_ARG(d->out.headers));
    return at < d->out.headers.len;
}

static unsigned contacts(const struct desk *d) {
    unsigned n = 0;
    for (slice rest = d->out.headers, line; slice_split(&rest, '\n', &line);)
        n += slice_starts(line, SLICE("Contact: "));
    return n;
}

static unsigned known(struct desk *d, struct binding *out, unsigned max) {
    unsigned count;
    assert_ok(location_find(d->l, ALICE, d->now, &d->arena, out, max, &count));
    return count;
}

/* ---- RFC 3261 10.3, step by step ---- */

static void without_contact_it_only_tells(void **state) {
    (void)state;
    struct desk *d = desk_new();
    /* RFC 3261 10.3 step 6: no Contact, on to the last step. */
    assert_int_equal(reg(d, ""), 200);
    assert_int_equal(d->out.change_count, 0);
    assert_int_equal(contacts(d), 0);
    assert_int_equal(reg(d, "Contact: <sip:a@192.0.2.1>\r\n"), 200);
    assert_int_equal(reg(d, ""), 200);
    assert_int_equal(d->out.change_count, 0);
    assert_true(says(d, "Contact: <sip:a@192.0.2.1>;expires=3600"));
    /* Step 8: the response should include a Date. */
    assert_true(says(d, "Date: Tue, 14 Nov 2023 22:13:20 GMT"));
    assert_true(says(d, "Supported: path, outbound"));
    desk_free(d);
}

static void star_removes_all(void **state) {
    (void)state;
    struct desk *d = desk_new();
    assert_int_equal(reg(d, "Contact: <sip:a@h1>, <sip:a@h2>\r\n"), 200);
    /* RFC 3261 10.3 step 6: additional contacts, or an expiry that is not zero: 400. */
    assert_int_equal(reg(d, "Contact: *\r\n"), 400);
    assert_int_equal(reg(d, "Contact: *\r\nExpires: 1\r\n"), 400);
    assert_int_equal(reg(d, "Contact: *, <sip:a@h3>\r\nExpires: 0\r\n"), 400);
    assert_int_equal(reg(d, "Contact: <sip:a@h3>\r\nContact: *\r\nExpires: 0\r\n"), 400);
    assert_int_equal(location_count(d->l), 2);
    /* ... one Call-ID, and the CSeq not higher: the request fails, nothing is removed. */
    d->cseq = 0;
    assert_int_equal(reg(d, "Contact: *\r\nExpires: 0\r\n"), 500);
    assert_int_equal(location_count(d->l), 2);
    d->cseq = 20;
    assert_int_equal(reg(d, "Contact: *\r\nExpires: 0\r\n"), 200);
    assert_int_equal(d->out.change_count, 2);
    assert_int_equal(d->out.changes[0].op, STORE_BINDING_REMOVE);
    assert_true(d->out.must_commit);
    assert_int_equal(contacts(d), 0);
    assert_int_equal(location_count(d->l), 0);
    desk_free(d);
}

static void star_of_another_call_id_removes(void **state) {
    (void)state;
    struct desk *d = desk_new();
    d->cseq = 100;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 200);
    d->call_id = "call-2";
    d->cseq = 1;
    assert_int_equal(reg(d, "Contact: *\r\nExpires: 0\r\n"), 200);
    assert_int_equal(location_count(d->l), 0);
    desk_free(d);
}

static void parameter_before_header_before_default(void **state) {
    (void)state;
    struct desk *d = desk_new();
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=70\r\nExpires: 80\r\n"), 200);
    assert_true(says(d, "Contact: <sip:a@h1>;expires=70"));
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\nExpires: 80\r\n"), 200);
    assert_true(says(d, "Contact: <sip:a@h1>;expires=80"));
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 200);
    assert_true(says(d, "Contact: <sip:a@h1>;expires=3600"));
    /* The registrar may choose less than was asked for. */
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=4000000000\r\n"), 200);
    assert_true(says(d, "Contact: <sip:a@h1>;expires=86400"));
    /* RFC 3261 20.10: a malformed value is taken as 3600. */
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=soon\r\n"), 200);
    assert_true(says(d, "Contact: <sip:a@h1>;expires=3600"));
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\nExpires: soon\r\n"), 400);
    desk_free(d);
}

static void brief_is_refused(void **state) {
    (void)state;
    struct desk *d = desk_new();
    /* RFC 3261 10.3 step 7: greater than zero and smaller than the minimum: 423, Min-Expires. */
    assert_int_equal(reg(d, "Contact: <sip:a@h1>, <sip:a@h2>;expires=59\r\n"), 423);
    assert_slice(d->out.headers, "Min-Expires: 60\r\n");
    assert_int_equal(location_count(d->l), 0);
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=60\r\n"), 200);
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=0\r\n"), 200);
    /* ... and smaller than one hour: an hour is never too brief, whatever our minimum. */
    d->limits.expires_min_s = 7200;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=3600\r\n"), 200);
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=3599\r\n"), 423);
    assert_slice(d->out.headers, "Min-Expires: 7200\r\n");
    desk_free(d);
}

static void contacts_are_compared_as_uris(void **state) {
    (void)state;
    struct desk *d = desk_new();
    assert_int_equal(reg(d, "Contact: <sip:a@HOST.example>\r\n"), 200);
    uint32_t bid = d->out.changes[0].binding.bid;
    /* RFC 3261 19.1.4: hosts compare without case. */
    assert_int_equal(reg(d, "Contact: <sip:a@host.EXAMPLE>;q=0.5\r\n"), 200);
    assert_int_equal(contacts(d), 1);
    assert_int_equal(d->out.changes[0].binding.bid, bid); /* stable for the device */
    assert_true(says(d, "Contact: <sip:a@host.EXAMPLE>;expires=3600;q=0.5"));
    assert_int_equal(reg(d, "Contact: <sip:a@host.example:5060>\r\n"), 200);
    assert_int_equal(contacts(d), 2);
    /* "If the binding exists it is removed when the expiration time is zero." */
    assert_int_equal(reg(d, "Contact: <sip:a@host.example>;expires=0\r\n"), 200);
    assert_int_equal(contacts(d), 1);
    assert_true(says(d, "Contact: <sip:a@host.example:5060>;expires=3600"));
    /* One that is not there is removed already. */
    assert_int_equal(reg(d, "Contact: <sip:a@host.example>;expires=0\r\n"), 200);
    assert_int_equal(d->out.change_count, 0);
    assert_false(d->out.must_commit);
    desk_free(d);
}

static void order_is_kept(void **state) {
    (void)state;
    struct desk *d = desk_new();
    d->cseq = 9;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 200);
    /* RFC 3261 10.3 step 7: the same Call-ID and a CSeq that is not higher: it fails. */
    d->cseq = 9;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;q=0.1\r\n"), 500);
    d->cseq = 3;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=0\r\n"), 500);
    /* "Either processed completely or not at all": h2 would have been fine. */
    d->cseq = 3;
    assert_int_equal(reg(d, "Contact: <sip:a@h2>, <sip:a@h1>\r\n"), 500);
    assert_int_equal(location_count(d->l), 1);
    /* Another Call-ID: updated, whatever the CSeq. */
    d->call_id = "call-2";
    d->cseq = 0;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;q=0.2\r\n"), 200);
    assert_true(says(d, "Contact: <sip:a@h1>;expires=3600;q=0.2"));
    /* "Each binding records the Call-ID and CSeq." */
    assert_slice(d->out.changes[0].binding.call_id, "call-2");
    assert_int_equal(d->out.changes[0].binding.cseq, 1);
    /* What has expired is not a binding any more. */
    d->now += 3600 * 1000;
    d->cseq = 0;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 200);
    desk_free(d);
}

static void after_a_restart_an_equal_cseq_is_taken(void **state) {
    (void)state;
    struct desk *d = desk_new();
    struct binding_row row = { .account_id = ALICE,
                               .bid = 1,
                               .run = RUN - 1,
                               .cseq = 9,
                               .q = 1000,
                               .contact = SLICE("sip:a@h1"),
                               .call_id = SLICE("call-1"),
                               .user_agent = SLICE("Phone 1"),
                               .expires = NOW + 60000 };
    assert_ok(location_load(d->l, &row, NOW));
    d->cseq = 7;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 500);
    d->cseq = 8; /* architecture.md section 4 */
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 200);
    assert_true(d->out.must_commit); /* it came over a new flow */
    d->cseq = 8;                     /* it was refreshed since: back to the RFC's rule */
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 500);
    desk_free(d);
}

static void all_bindings_are_told(void **state) {
    (void)state;
    struct desk *d = desk_new();
    assert_int_equal(reg(d,
                         "Contact: \"Al\" <sip:a@h1;transport=tcp>;q=0.25;methods=\"INVITE,BYE\";"
                         "+sip.instance=\"<" UUID ">\";reg-id=2;expires=100\r\n"),
                     200);
    d->now += 1500;
    d->call_id = "call-2";
    assert_int_equal(reg(d, "Contact: <mailto:a@example.org>;foo\r\nExpires: 200\r\n"), 200);
    /* Step 8: all current bindings, each with the expiry that is left. */
    assert_true(says(d, "Contact: <sip:a@h1;transport=tcp>;expires=99;q=0.25;+sip.instance=\"<" UUID
                        ">\";reg-id=2;methods=\"INVITE,BYE\""));
    assert_true(says(d, "Contact: <mailto:a@example.org>;expires=200;foo"));
    struct binding b[4];
    assert_int_equal(known(d, b, 4), 1); /* nobody is routed to a mail address */
    assert_slice(b[0].contact, "sip:a@h1;transport=tcp");
    assert_int_equal(b[0].q, 250);
    assert_int_equal(b[0].reg_id, 2);
    assert_true(b[0].instance_hash != 0);
    assert_true(b[0].flow == d->req.flow);
    /* GRUU parameters of the phone are ignored (RFC 5627 5.1), its own come back. */
    assert_int_equal(
        reg(d, "Contact: <sip:b@h1>;pub-gruu=\"sip:x@y;gr=1\";temp-gruu=\"sip:z\";x=1\r\n"), 200);
    assert_true(says(d, "Contact: <sip:b@h1>;expires=3600;x=1"));
    desk_free(d);
}

static void malformed_is_400(void **state) {
    (void)state;
    struct desk *d = desk_new();
    char lines[4096];
    assert_int_equal(reg(d, "Contact: <sip:a@h1\r\n"), 400);
    assert_int_equal(reg(d, "Contact: <sip:a@h1>,\r\n"), 400);
    assert_int_equal(reg(d, "Contact: <no uri>\r\n"), 400);
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;=\r\n"), 400);
    memset(lines, 'a', sizeof lines);
    memcpy(lines, "Contact: <sip:", 14);
    memcpy(lines + 14 + REGISTRAR_CONTACT_MAX, "@h>\r\n", 6);
    assert_int_equal(reg(d, lines), 400);
    char call_id[REGISTRAR_CALL_ID_MAX + 2];
    memset(call_id, 'c', sizeof call_id - 1);
    call_id[sizeof call_id - 1] = 0;
    d->call_id = call_id;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 400);
    call_id[sizeof call_id - 2] = 0;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\n"), 200);
    desk_free(d);
}

/* ---- devices ---- */

static void an_instance_is_one_device(void **state) {
    (void)state;
    struct desk *d = desk_new();
    const char *a = "Contact: <sip:a@h1:1>;+sip.instance=\"<" UUID ">\";reg-id=1\r\n";
    assert_int_equal(reg(d, a), 200);
    uint32_t bid = d->out.changes[0].binding.bid;
    assert_int_equal(bid, location_bid(d->l, ALICE, SLICE(UUID), 1, SLICE_NONE));
    /* RFC 5626 6: the same instance and reg-id replace, whatever the contact. */
    d->req.flow = flow_id_make(1, 3, 1);
    assert_int_equal(reg(d, "Contact: <sip:a@h2:2>;+sip.instance=\"<" UUID ">\";reg-id=1\r\n"),
                     200);
    assert_int_equal(contacts(d), 1);
    assert_int_equal(d->out.changes[0].binding.bid, bid);
    struct binding b[4];
    assert_int_equal(known(d, b, 4), 1);
    assert_true(b[0].flow == d->req.flow); /* "MUST update what identifies the flow" */
    /* Another reg-id is another binding of the same instance, with the same contact. */
    assert_int_equal(reg(d, "Contact: <sip:a@h2:2>;+sip.instance=\"<" UUID ">\";reg-id=2\r\n"),
                     200);
    assert_int_equal(known(d, b, 4), 2);
    assert_true(b[0].instance_hash == b[1].instance_hash);
    /* The contact is not compared: removal by instance and reg-id. */
    assert_int_equal(
        reg(d, "Contact: <sip:x@h9>;expires=0;+sip.instance=\"<" UUID ">\";reg-id=1\r\n"), 200);
    assert_int_equal(known(d, b, 4), 1);
    assert_int_equal(b[0].reg_id, 2);
    desk_free(d);
}

static void reg_id_rules(void **state) {
    (void)state;
    struct desk *d = desk_new();
    const char *two = "Contact: <sip:a@h1>;+sip.instance=\"<" UUID ">\";reg-id=1, <sip:a@h2>\r\n";
    /* RFC 5626 6: with a reg-id only one contact may last. */
    assert_int_equal(reg(d, two), 400);
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;+sip.instance=\"<" UUID
                            ">\";reg-id=1, <sip:a@h2>;expires=0\r\n"),
                     200);
    /* ... without an instance the reg-id is ignored. */
    assert_int_equal(reg(d, "Contact: <sip:b@h1>;reg-id=7\r\n"), 200);
    assert_int_equal(d->out.changes[0].binding.reg_id, 0);
    /* ... and when a first hop in between does not say "ob". */
    d->top = "Via: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bKy\r\nSupported: path\r\n"
             "Path: <sip:edge;lr>\r\n";
    assert_int_equal(reg(d, "Contact: <sip:c@h1>;+sip.instance=\"<" UUID "2>\";reg-id=3\r\n"), 200);
    assert_int_equal(d->out.changes[0].binding.reg_id, 0);
    d->top = "Via: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bKy\r\nSupported: path\r\n"
             "Path: <sip:edge;lr;ob>\r\n";
    assert_int_equal(reg(d, "Contact: <sip:c@h1>;+sip.instance=\"<" UUID "2>\";reg-id=3\r\n"), 200);
    assert_int_equal(d->out.changes[0].binding.reg_id, 3);
    desk_free(d);
}

static void a_moved_phone_replaces_itself(void **state) {
    (void)state;
    struct desk *d = desk_new();
#define WITH ";+sip.instance=\"<" UUID ">\""
    assert_int_equal(reg(d, "Contact: <sip:a@h1>" WITH "\r\n"), 200);
    assert_int_equal(reg(d, "Contact: <sip:a@h2>" WITH "\r\n"), 200);
    assert_int_equal(contacts(d), 1);
    /* It cleans up its former contact in the same request, in either order. */
    assert_int_equal(reg(d, "Contact: <sip:a@h3>" WITH ", <sip:a@h2>;expires=0" WITH "\r\n"), 200);
    assert_int_equal(contacts(d), 1);
    assert_true(says(d, "Contact: <sip:a@h3>;expires=3600" WITH));
    assert_int_equal(reg(d, "Contact: <sip:a@h3>;expires=0" WITH ", <sip:a@h4>" WITH "\r\n"), 200);
    assert_int_equal(contacts(d), 1);
    assert_true(says(d, "Contact: <sip:a@h4>;expires=3600" WITH));
    /* ... or later: its present contact stays. */
    assert_int_equal(reg(d, "Contact: <sip:a@h1>;expires=0" WITH "\r\n"), 200);
    assert_int_equal(contacts(d), 1);
    assert_int_equal(reg(d, "Contact: <sip:a@h4>;expires=0" WITH "\r\n"), 200);
    assert_int_equal(contacts(d), 0);
    /* Two contacts that mean one device: the last counts. */
    assert_int_equal(reg(d, "Contact: <sip:a@h1>" WITH ", <sip:a@h2>" WITH "\r\n"), 200);
    assert_int_equal(contacts(d), 1);
    assert_true(says(d, "Contact: <sip:a@h2>;expires=3600" WITH));
    assert_int_equal(reg(d, "Contact: <sip:b@h>, <sip:b@h>;q=0.1\r\n"), 200);
    assert_int_equal(contacts(d), 2);
    /* Two phones behind two NATs may have one private address. */
    assert_int_equal(reg(d, "Contact: <sip:a@h2>;+sip.instance=\"<urn:other>\"\r\n"), 200);
    assert_int_equal(contacts(d), 3);
    /* A binding answers to one contact only: here its instance has moved on and its URI is somebody
     * else's now. */
    assert_int_equal(reg(d, "Contact: *\r\nExpires: 0\r\n"), 200);
    assert_int_equal(reg(d, "Contact: <sip:a@h2>" WITH "\r\n"), 200);
    assert_int_equal(reg(d, "Contact: <sip:a@h9>" WITH ", <sip:a@h2>\r\n"), 200);
    assert_int_equal(contacts(d), 2);
    assert_int_equal(location_count(d->l), 2);
    desk_free(d);
}

static void a_contact_must_not_loop(void **state) {
    (void)state;
    struct desk *d = desk_new();
    /* RFC 5627 5.1: the address-of-record, a GRUU of it, or no SIP URI: 403. */
    assert_int_equal(reg(d, "Contact: <sip:alice@example.org>" WITH "\r\n"), 403);
    assert_int_equal(reg(d, "Contact: <sip:alice@example.org;gr=x>" WITH "\r\n"), 403);
    assert_int_equal(reg(d, "Contact: <tel:+4930123>" WITH "\r\n"), 403);
    assert_int_equal(reg(d, "Contact: <tel:+4930123>\r\n"), 200);
    desk_free(d);
}

static void sips_is_taken_whole_or_not(void **state) {
    (void)state;
    struct desk *d = desk_new();
    /* RFC 5630 5.2 */
    assert_int_equal(reg(d, "Contact: <sips:a@h1>\r\n"), 400);
    d->uri = "sips:example.org";
    assert_int_equal(reg(d, "Contact: <sips:a@h1>, <sip:a@h2>\r\n"), 400);
    assert_int_equal(reg(d, "Contact: <sips:a@h1>\r\nPath: <sip:p;lr>\r\nSupported: path\r\n"),
                     400);
    assert_int_equal(reg(d, "Contact: <sips:a@h1>\r\nPath: <sips:p;lr>\r\nSupported: path\r\n"),
                     200);
    d->req.secure = false;
    assert_int_equal(reg(d, "Contact: <sips:a@h2>\r\n"), 400);
    desk_free(d);
}

/* ---- Path, limits, ends ---- */

static void path_is_kept(void **state) {
    (void)state;
    struct desk *d = desk_new();
    const char *two =
        "Contact: <sip:a@h1>\r\nPath: <sip:p3;lr>,<sip:p2;lr>\r\nPath: <sip:p1;lr>\r\n";
    char lines[512];
    /* RFC 3327 5.3: a Path that the phone does not support: 420. */
    assert_int_equal(reg(d, two), 420);
    assert_slice(d->out.headers, "Unsupported: path\r\n");
    (void)snprintf(lines, sizeof lines, "%sSupported: gruu, path\r\n", two);
    assert_int_equal(reg(d, lines), 200);
    assert_true(says(d, "Path: <sip:p3;lr>, <sip:p2;lr>, <sip:p1;lr>"));
    struct binding b[2];
    assert_int_equal(known(d, b, 2), 1);
    assert_slice(b[0].path, "<sip:p3;lr>, <sip:p2;lr>, <sip:p1;lr>");
    assert_int_equal(reg(d, "Contact: <sip:a@h1>\r\nPath: <sip:\r\nSupported: path\r\n"), 400);
    desk_free(d);
}

static bool no_flow_lives(void *ctx, flow_id flow) {
    (void)ctx;
    return flow == flow_id_make(9, 9, 9);
}

static void contacts_are_limited(void **state) {
    (void)state;
    struct desk *d = desk_new();
    char line[64];
    for (int i = 0; i < 4; i++) {
        d->now += 1000;
        (void)snprintf(line, sizeof line, "Contact: <sip:a@h%d>\r\n", i);
        assert_int_equal(reg(d, line), 200);
    }
    assert_int_equal(reg(d, "Contact: <sip:a@h4>\r\n"), 403);
    assert_int_equal(reg(d, "Contact: <sip:a@h0>\r\n"), 200); /* a refresh is no new one */
    assert_int_equal(reg(d, "Contact: <sip:a@h4>, <sip:a@h1>;expires=0\r\n"), 200);
    /* When a flow is gone its binding makes room, the oldest first. */
    d->req.is_flow_alive = no_flow_lives;
    d->req.flow = flow_id_make(9, 9, 9);
    assert_int_equal(reg(d, "Contact: <sip:a@h5>\r\n"), 200);
    assert_int_equal(contacts(d), 4);
    assert_int_equal(d->out.change_count, 2);
    assert_int_equal(d->out.changes[0].op, STORE_BINDING_REMOVE);
    assert_int_equal(d->out.changes[0].binding.bid,
                     location_bid(d->l, ALICE, SLICE_NONE, 0, SLICE("sip:a@h2")));
    assert_int_equal(reg(d, "Contact: <sip:b@1>, <sip:b@2>, <sip:b@3>\r\n"), 200);
    assert_int_equal(contacts(d), 4);
    assert_int_equal(reg(d, "Contact: <sip:a@h6>\r\n"), 403);
    assert_int_equal(reg(d, "Contact: <sip:c@1>,<sip:c@2>,<sip:c@3>,<sip:c@4>,<sip:c@5>,<sip:c@6>,"
                            "<sip:c@7>,<sip:c@8>,<sip:c@9>\r\n"),
                     403);
    desk_free(d);
}

static void the_table_may_be_full(void **state) {
    (void)state;
    struct desk *d = desk_new();
    location_free(d->l);
    d->l = location_new(2, &key, RUN);
    assert_non_null(d->l);
    assert_int_equal(reg(d, "Contact: <sip:a@1>, <sip:a@2>, <sip:a@3>\r\n"), 503);
    assert_int_equal(location_count(d->l), 0);
    assert_int_equal(reg(d, "Contact: <sip:a@1>\r\n"), 200);
    assert_int_equal(reg(d, "Contact: <sip:a@1>;q=0.3\r\n"), 200);
    desk_free(d);
}

static void a_permission_ends(void **state) {
    (void)state;
    struct desk *d = desk_new();
    d->req.until = d->now + 90500;
    assert_int_equal(reg(d, "Contact: <sip:a@1>\r\n"), 200);
    assert_true(says(d, "Contact: <sip:a@1>;expires=90"));
    d->now = d->req.until;
    assert_int_equal(reg(d, "Contact: <sip:a@1>\r\n"), 403);
    desk_free(d);
}

/* ---- what is on disk ---- */

static void a_refresh_does_not_wait(void **state) {
    (void)state;
    struct desk *d = desk_new();
    assert_int_equal(reg(d, "Contact: <sip:a@1>\r\n"), 200);
    assert_true(d->out.must_commit);
    assert_int_equal(d->out.changes[0].durability, STORE_NORMAL);
    d->now += 1000;
    assert_int_equal(reg(d, "Contact: <sip:a@1>\r\n"), 200);
    assert_false(d->out.must_commit);
    assert_int_equal(d->out.change_count, 1);
    assert_int_equal(d->out.changes[0].op, STORE_BINDING_REFRESH);
    assert_int_equal(d->out.changes[0].durability, STORE_LAZY);
    assert_int_equal(d->out.changes[0].binding.cseq, 2);
    assert_true(d->out.changes[0].binding.expires == d->now + 3600000);
    /* Anything else that changes waits: q, parameters, contact text, flow, Call-ID. */
    const char *lines[] = { "Contact: <sip:a@1>;q=0.9\r\n", "Contact: <sip:a@1>;q=0.9;x\r\n",
                            "Contact: <SIP:a@1>;q=0.9;x\r\n" };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        assert_int_equal(reg(d, lines[i]), 200);
        assert_true(d->out.must_commit);
    }
    d->req.flow++;
    assert_int_equal(reg(d, lines[2]), 200);
    assert_true(d->out.must_commit);
    d->call_id = "another";
    assert_int_equal(reg(d, lines[2]), 200);
    assert_true(d->out.must_commit);
    assert_int_equal(reg(d, lines[2]), 200);
    assert_false(d->out.must_commit);
    desk_free(d);
}

/* The commit of the last answer's first change. */
static void committed(struct desk *d, enum err result) {
    const struct binding_row *row = &d->out.changes[0].binding;
    registrar_committed(d->l, ALICE, row->bid, row->change, result);
}

static void a_failed_commit_is_not_forgotten(void **state) {
    (void)state;
    struct desk *d = desk_new();
    d->cseq = 1;
    assert_ok(ask(d, "Contact: <sip:a@1>\r\n"));
    uint32_t bid = d->out.changes[0].binding.bid;
    uint64_t first = d->out.changes[0].binding.change;
    d->cseq = 2; /* not committed yet: the refresh counts as new */
    assert_ok(ask(d, "Contact: <sip:a@1>\r\n"));
    assert_true(d->out.must_commit);
    committed(d, ERR_STORE);
    registrar_committed(d->l, ALICE, bid, first, ERR_OK); /* says nothing of the second */
    d->cseq = 3;
    assert_ok(ask(d, "Contact: <sip:a@1>\r\n"));
    assert_true(d->out.must_commit);
    committed(d, ERR_OK);
    d->cseq = 4;
    assert_ok(ask(d, "Contact: <sip:a@1>\r\n"));
    assert_false(d->out.must_commit);

    /* A removal that the disk refused is asked for again. */
    d->cseq = 5;
    assert_ok(ask(d, "Contact: <sip:a@1>;expires=0\r\n"));
    assert_true(d->out.must_commit);
    assert_int_equal(location_count(d->l), 0);
    committed(d, ERR_STORE);
    d->cseq = 6;
    assert_ok(ask(d, "Contact: <sip:a@1>;expires=0\r\n"));
    assert_int_equal(d->out.change_count, 1);
    assert_int_equal(d->out.changes[0].op, STORE_BINDING_REMOVE);
    committed(d, ERR_STORE);
    assert_ok(ask(d, "Contact: *\r\nExpires: 0\r\n"));
    assert_int_equal(d->out.change_count, 1);
    committed(d, ERR_STORE);
    /* ... or swept. */
    struct store_change gone[4];
    assert_int_equal(location_sweep(d->l, d->now, 100000, gone, 4), 0);
    assert_int_equal(location_sweep(d->l, d->now + 30000, 100000, gone, 4), 1);
    assert_int_equal(gone[0].binding.bid, bid);
    desk_free(d);
}

static void a_removed_binding_may_come_back_at_once(void **state) {
    (void)state;
    struct desk *d = desk_new();
    assert_int_equal(reg(d, "Contact: <sip:a@1>\r\n"), 200);
    uint32_t bid = d->out.changes[0].binding.bid;
    d->cseq = 10;
    assert_ok(ask(d, "Contact: <sip:a@1>;expires=0\r\n"));
    uint64_t removal = d->out.changes[0].binding.change;
    d->cseq = 11;
    assert_ok(ask(d, "Contact: <sip:a@1>\r\n"));
    assert_int_equal(d->out.changes[0].binding.bid, bid);
    registrar_committed(d->l, ALICE, bid, removal, ERR_OK);
    assert_int_equal(location_count(d->l), 1);
    d->cseq = 12; /* its own commit is still awaited */
    assert_ok(ask(d, "Contact: <sip:a@1>\r\n"));
    assert_true(d->out.must_commit);
    committed(d, ERR_OK);
    d->cseq = 13;
    assert_ok(ask(d, "Contact: <sip:a@1>\r\n"));
    assert_false(d->out.must_commit);
    desk_free(d);
}

static void gruu_epochs_rise(void **state) {
    (void)state;
    struct desk *d = desk_new();
    assert_int_equal(reg(d, "Contact: <sip:a@h1>" WITH "\r\n"), 200);
    uint64_t epoch = d->out.changes[0].binding.gruu_epoch;
    assert_int_equal(reg(d, "Contact: <sip:a@h1>" WITH "\r\n"), 200);
    assert_int_equal(d->out.changes[0].binding.gruu_epoch, epoch);
    /* RFC 5627 5.1: a new Call-ID ends the temporary GRUUs. */
    d->call_id = "new";
    assert_int_equal(reg(d, "Contact: <sip:a@h1>" WITH "\r\n"), 200);
    assert_true(d->out.changes[0].binding.gruu_epoch > epoch);
    epoch = d->out.changes[0].binding.gruu_epoch;
    d->now += 5000;
    assert_int_equal(reg(d, "Contact: *\r\nExpires: 0\r\n"), 200);
    assert_int_equal(reg(d, "Contact: <sip:a@h1>" WITH "\r\n"), 200);
    assert_true(d->out.changes[0].binding.gruu_epoch > epoch);
    desk_free(d);
}

#define FLOW(n) "Contact: <sip:a@h" #n ">" WITH ";reg-id=" #n "\r\n"

static uint64_t epoch_of(struct desk *d, uint32_t *out_bid) {
    *out_bid = d->out.changes[d->out.change_count - 1].binding.bid;
    return d->out.changes[d->out.change_count - 1].binding.gruu_epoch;
}

/* RFC 5627 5.1: a flow's new Call-ID ends the temporary GRUUs of the whole device; they must not
 * come back when that flow goes and one with the old Call-ID stays. */
static void an_epoch_is_the_devices(void **state) {
    (void)state;
    struct desk *d = desk_new();
    uint32_t one, two;
    assert_int_equal(reg(d, FLOW(1)), 200);
    uint64_t epoch = epoch_of(d, &one), now;
    d->call_id = "call-2";
    assert_int_equal(reg(d, FLOW(2)), 200); /* another flow's Call-ID is its own */
    assert_true(epoch_of(d, &two) == epoch && one != two);
    assert_int_equal(d->out.change_count, 1);
    d->call_id = "call-3";
    assert_int_equal(reg(d, FLOW(1)), 200);
    assert_int_equal(d->out.change_count, 2);
    assert_true(d->out.must_commit);
    assert_int_equal(d->out.changes[0].op, STORE_BINDING_PUT);
    assert_int_equal(d->out.changes[0].binding.bid, two);
    assert_slice(d->out.changes[0].binding.call_id, "call-2");
    uint64_t fresh = epoch_of(d, &one);
    assert_true(fresh > epoch && d->out.changes[0].binding.gruu_epoch == fresh);
    assert_int_equal(reg(d, "Contact: <sip:a@h1>" WITH ";reg-id=1;expires=0\r\n"), 200);
    struct binding b;
    unsigned count = known(d, &b, 1);
    assert_int_equal(count, 1);
    assert_ok(location_device(d->l, ALICE, b.instance_hash, d->now, &now));
    assert_true(now == fresh);
    /* ... and with the last one the device has none at all. */
    d->call_id = "call-2";
    assert_int_equal(reg(d, "Contact: *\r\nExpires: 0\r\n"), 200);
    assert_err(location_device(d->l, ALICE, b.instance_hash, d->now, &now), ERR_MISSING);
    assert_int_equal(reg(d, FLOW(2)), 200);
    assert_true(epoch_of(d, &two) > fresh);
    desk_free(d);
}

/* The value of a quoted parameter of the last answer's contact with this reg-id. */
static slice gruu_of(const struct desk *d, const char *mark, const char *name) {
    static char kept[16][256];
    static unsigned turn;
    size_t at = slice_find_slice(d->out.headers, slice_str(mark));
    assert_true(at < d->out.headers.len);
    slice rest = slice_from(d->out.headers, at);
    at = slice_find_slice(rest, slice_str(name));
    assert_true(at < slice_find(rest, '\n'));
    rest = slice_from(rest, at + strlen(name));
    slice value = slice_head(rest, slice_find(rest, '"'));
    char *mem = kept[turn++ % ARRAY_LEN(kept)];
    assert_true(slice_cstr(value, mem, sizeof kept[0]));
    return slice_str(mem);
}

static void a_phone_is_told_its_gruus(void **state) {
    (void)state;
    static const uint8_t gruu_key[64] = "of gruus";
    struct desk *d = desk_new();
    d->req.aor = SLICE("alice@example.org");
    d->req.gruu_key = gruu_key;
    /* RFC 5627 5.2: only who supports them is told. */
    assert_int_equal(reg(d, FLOW(1)), 200);
    assert_int_equal(slice_find_slice(d->out.headers, SLICE("gruu=")), d->out.headers.len);
    assert_int_equal(reg(d, "Supported: gruu, path\r\n" FLOW(1)), 200);
    slice pub = gruu_of(d, "reg-id=1", "pub-gruu=\""),
          temp = gruu_of(d, "reg-id=1", "temp-gruu=\"");
    struct sip_uri uri;
    uint64_t instance, epoch;
    struct gruu gruu;
    assert_ok(sip_uri_read(pub, &uri));
    assert_slice(uri.user, "alice");
    assert_slice(uri.host, "example.org");
    assert_ok(gruu_read(gruu_key, uri.gr, ALICE, &instance));
    assert_ok(location_device(d->l, ALICE, instance, d->now, &epoch));
    assert_ok(sip_uri_read(temp, &uri));
    assert_true(uri.has_gr && uri.gr.len == 0);
    assert_slice(uri.host, "example.org");
    assert_ok(gruu_temp_read(gruu_key, uri.user, &gruu));
    assert_true(gruu.account_id == ALICE && gruu.instance == instance && gruu.epoch == epoch);
    /* 5.1: each REGISTER makes a new temporary one; the public one stays. */
    assert_int_equal(reg(d, "Supported: gruu\r\n" FLOW(1)), 200);
    assert_slice_eq(gruu_of(d, "reg-id=1", "pub-gruu=\""), pub);
    slice later = gruu_of(d, "reg-id=1", "temp-gruu=\"");
    assert_false(slice_eq(later, temp));
    /* 5.2: asking only, the phone hears the newest there is; both flows are one device. */
    assert_int_equal(reg(d, "Supported: gruu\r\n"), 200);
    assert_slice_eq(gruu_of(d, "reg-id=1", "temp-gruu=\""), later);
    assert_int_equal(reg(d, "Supported: gruu\r\n" FLOW(2)), 200);
    assert_slice_eq(gruu_of(d, "reg-id=1", "pub-gruu=\""), pub);
    assert_slice_eq(gruu_of(d, "reg-id=2", "pub-gruu=\""), pub);
    assert_slice_eq(gruu_of(d, "reg-id=2", "temp-gruu=\""), gruu_of(d, "reg-id=1", "temp-gruu=\""));
    /* 5.1: a GRUU of the address itself would loop. */
    char line[512];
    (void)snprintf(line, sizeof line, "Contact: <" SLICE_FMT ">" WITH "\r\n", SLICE_ARG(later));
    assert_int_equal(reg(d, line), 403);
    (void)snprintf(line, sizeof line, "Contact: <" SLICE_FMT ">" WITH "\r\n", SLICE_ARG(pub));
    assert_int_equal(reg(d, line), 403);
    desk_free(d);
}

static void outbound_is_said(void **state) {
    (void)state;
    struct desk *d = desk_new();
    static const char supported[] = "Supported: path, outbound\r\n" FLOW(1);
    /* RFC 5626 6: required when it was used and the phone supports it. */
    assert_int_equal(reg(d, supported), 200);
    assert_true(says(d, "Require: outbound"));
    assert_true(says(d, "Flow-Timer: 120"));
    assert_true(d->out.keeps_flow);
    assert_int_equal(reg(d, FLOW(1)), 200);
    assert_false(d->out.keeps_flow);
    assert_int_equal(slice_find_slice(d->out.headers, SLICE("Require")), d->out.headers.len);
    assert_int_equal(reg(d, "Supported: outbound\r\nContact: <sip:a@h9>" WITH "\r\n"), 200);
    assert_int_equal(slice_find_slice(d->out.headers, SLICE("Require")), d->out.headers.len);
    /* Behind another server: its first Path value must say that it keeps the flow. */
    d->top = "Via: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bKtop\r\n";
    assert_int_equal(reg(d, supported), 439);
    assert_int_equal(reg(d, "Path: <sip:edge;lr>\r\n"
                            "Supported: path, outbound\r\n" FLOW(1)),
                     439);
    assert_int_equal(reg(d, "Path: <sip:edge;lr;ob>\r\n"
                            "Supported: path, outbound\r\n" FLOW(1)),
                     200);
    assert_true(says(d, "Require: outbound"));
    /* 5.4: only the hop that the phone is connected to asks for pings. */
    assert_false(d->out.keeps_flow);
    assert_int_equal(slice_find_slice(d->out.headers, SLICE("Flow-Timer")), d->out.headers.len);
    assert_int_equal(reg(d, FLOW(3)), 200); /* without the tag the reg-id is ignored */
    assert_int_equal(d->out.changes[0].binding.reg_id, 0);
    desk_free(d);
}

/* ---- memory ---- */

static enum err register_twice(void *ctx) {
    (void)ctx;
    static struct desk d;
    d = (struct desk){ .limits = { 60, 86400, 3600, 4, false },
                       .now = NOW,
                       .uri = "sip:example.org",
                       .call_id = "call-1",
                       .cseq = 1 };
    d.req = (struct registrar_request){ .account_id = ALICE, .flow = 1, .run = RUN };
    d.l = location_new(10, &key, RUN);
    if (!d.l) return ERR_MEMORY;
    arena_init(&d.arena, 1 << 16);
    enum err err = ask(&d, "Contact: <sip:a@1>, <sip:a@2>\r\n");
    uint32_t before = location_count(d.l);
    if (err == ERR_OK) {
        d.cseq = 2;
        err = ask(&d, "Contact: <sip:a@1>;expires=0, <sip:a@3>\r\nPath: <sip:p>\r\n"
                      "Supported: path\r\n");
        if (err != ERR_OK) assert_int_equal(location_count(d.l), before); /* nothing changed */
    } else {
        assert_int_equal(before, 0);
    }
    arena_fini(&d.arena);
    location_free(d.l);
    return err;
}

static void short_memory_changes_nothing(void **state) {
    (void)state;
    assert_true(unit_oom(register_twice) > 260);
    struct desk *d = desk_new();
    arena_fini(&d->arena);
    for (size_t room = 0; room < 8192; room += 32) {
        arena_init(&d->arena, room);
        enum err err = ask(d, "Contact: <sip:a@1>, <sip:a@2>\r\n");
        assert_true(err == ERR_MEMORY || err == ERR_OK);
        assert_int_equal(location_count(d->l), err == ERR_OK ? 2 : 0);
        arena_fini(&d->arena);
        if (err == ERR_OK) break;
        assert_true(room < 8000);
    }
    arena_init(&d->arena, 1024);
    desk_free(d);
}

/* ---- a naive model ---- */

struct model_row {
    char contact[32], instance[16], call_id[8];
    uint32_t reg_id, cseq;
    wall_t expires;
    bool on;
};
enum { MODEL_MAX = 16 };
struct model {
    struct model_row rows[MODEL_MAX];
};
struct model_contact {
    char contact[32], instance[16];
    uint32_t reg_id, expires;
};

static bool model_means(const struct model_contact *c, const struct model_row *r) {
    bool same_uri = strcmp(c->contact, r->contact) == 0;
    if (!c->instance[0] || !r->instance[0]) return same_uri;
    if (strcmp(c->instance, r->instance) != 0 || c->reg_id != r->reg_id) return false;
    return same_uri || c->expires || c->reg_id;
}

/* One contact per request here: several are covered above. Returns the status. */
static unsigned model_register(struct model *m, const struct model_contact *c, const char *call_id,
                               uint32_t cseq, wall_t now, unsigned limit) {
    struct model_row *meant = NULL, *room = NULL;
    unsigned on = 0;
    if (c->expires && c->expires < 60) return 423;
    for (int i = 0; i < MODEL_MAX; i++) {
        struct model_row *r = &m->rows[i];
        if (r->on && r->expires <= now) r->on = false;
        if (r->on && model_means(c, r) && strcmp(r->call_id, call_id) == 0 && cseq <= r->cseq)
            return 500;
    }
    for (int i = 0; i < MODEL_MAX; i++) {
        struct model_row *r = &m->rows[i];
        if (r->on && model_means(c, r)) {
            if (meant) meant->on = false;
            meant = r;
        }
        if (!r->on) room = r;
    }
    for (int i = 0; i < MODEL_MAX; i++) on += m->rows[i].on;
    if (!c->expires) {
        if (meant) meant->on = false;
        return 200;
    }
    if (!meant && on >= limit) return 403;
    if (!meant) meant = room;
    *meant = (struct model_row){
        .reg_id = c->reg_id, .cseq = cseq, .on = true, .expires = now + (wall_t)c->expires * 1000
    };
    memcpy(meant->contact, c->contact, sizeof c->contact);
    memcpy(meant->instance, c->instance, sizeof c->instance);
    (void)snprintf(meant->call_id, sizeof meant->call_id, "%s", call_id);
    return 200;
}

struct compare {
    const struct model *m;
    unsigned seen;
    wall_t grace;
    bool bids[256];
};

static bool is_in_model(void *ctx, const struct binding_row *row) {
    struct compare *c = ctx;
    for (int i = 0; i < MODEL_MAX; i++) {
        const struct model_row *r = &c->m->rows[i];
        if (!r->on || !slice_eq(row->contact, slice_str(r->contact)) ||
            !slice_eq(row->instance, slice_str(r->instance)) || row->reg_id != r->reg_id)
            continue;
        assert_slice(row->call_id, r->call_id);
        assert_int_equal(row->cseq, r->cseq);
        assert_true(row->expires == r->expires + c->grace);
        c->seen++;
        return true;
    }
    print_error(SLICE_FMT " is not in the model\n", SLICE_ARG(row->contact));
    fail();
    return false;
}

static void assert_table(struct location *l, struct model *m, wall_t now, wall_t grace) {
    struct compare c = { .m = m, .grace = grace };
    unsigned wanted = 0;
    for (int i = 0; i < MODEL_MAX; i++) wanted += m->rows[i].on && m->rows[i].expires + grace > now;
    location_each(l, ALICE, now, is_in_model, &c);
    assert_int_equal(c.seen, wanted);
}

static enum err load_row(void *ctx, const struct binding_row *row) {
    struct desk *d = ctx;
    enum err err = location_load(d->l, row, d->now);
    return err == ERR_MISSING ? ERR_OK : err;
}

/* What the store was told, read into a fresh table, is the same table. */
static void assert_stored(struct desk *d, struct model *m) {
    struct desk fresh = { .l = location_new(1000, &key, RUN), .now = d->now + 2000 };
    assert_non_null(fresh.l); /* later by the grace, so that both see the same rows expire */
    const struct store_reader reader = { .ctx = &fresh, .on_binding = load_row };
    assert_ok(store_load(d->store, &reader));
    assert_table(fresh.l, m, d->now + 2000, 2000);
    location_free(fresh.l);
}

static void random_contact(uint64_t *seed, struct model_contact *c, char *line, size_t len) {
    static const uint32_t expires[] = { 0, 30, 60, 100, 3600 };
    *c = (struct model_contact){ .expires = expires[unit_below(seed, 5)] };
    (void)snprintf(c->contact, sizeof c->contact, "sip:a@h%u", unit_below(seed, 5));
    int n = snprintf(line, len, "Contact: <%s>;expires=%u", c->contact, c->expires);
    if (unit_below(seed, 2)) {
        (void)snprintf(c->instance, sizeof c->instance, "urn:%u", unit_below(seed, 3));
        c->reg_id = unit_below(seed, 3);
        n += snprintf(line + n, len - (size_t)n, ";+sip.instance=\"<%s>\"", c->instance);
        if (c->reg_id) n += snprintf(line + n, len - (size_t)n, ";reg-id=%u", c->reg_id);
    }
    (void)snprintf(line + n, len - (size_t)n, "\r\n");
}

static void agrees_with_the_model(void **state) {
    (void)state;
    for (uint64_t round = 1; round <= 40; round++) {
        uint64_t seed = round;
        struct desk *d = desk_new();
        struct model m = { 0 };
        d->limits.contacts_max = 6;
        for (int i = 0; i < 300; i++) {
            struct model_contact c;
            char line[256];
            random_contact(&seed, &c, line, sizeof line);
            d->now += unit_below(&seed, 20000);
            d->call_id = unit_below(&seed, 4) ? "one" : "two";
            d->cseq = unit_below(&seed, 3) ? (uint32_t)i : unit_below(&seed, 300);
            unsigned wanted =
                model_register(&m, &c, d->call_id, d->cseq + 1, d->now, d->limits.contacts_max);
            unsigned got = reg(d, line);
            if (got != wanted) print_error("round %u, step %d: %s", (unsigned)round, i, line);
            assert_int_equal(got, wanted);
            assert_table(d->l, &m, d->now, 0);
            if (i % 50 == 49) assert_stored(d, &m);
        }
        desk_free(d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_contact_it_only_tells),
        cmocka_unit_test(star_removes_all),
        cmocka_unit_test(star_of_another_call_id_removes),
        cmocka_unit_test(parameter_before_header_before_default),
        cmocka_unit_test(brief_is_refused),
        cmocka_unit_test(contacts_are_compared_as_uris),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(after_a_restart_an_equal_cseq_is_taken),
        cmocka_unit_test(all_bindings_are_told),
        cmocka_unit_test(malformed_is_400),
        cmocka_unit_test(an_instance_is_one_device),
        cmocka_unit_test(reg_id_rules),
        cmocka_unit_test(a_moved_phone_replaces_itself),
        cmocka_unit_test(a_contact_must_not_loop),
        cmocka_unit_test(sips_is_taken_whole_or_not),
        cmocka_unit_test(path_is_kept),
        cmocka_unit_test(contacts_are_limited),
        cmocka_unit_test(the_table_may_be_full),
        cmocka_unit_test(a_permission_ends),
        cmocka_unit_test(a_refresh_does_not_wait),
        cmocka_unit_test(a_failed_commit_is_not_forgotten),
        cmocka_unit_test(a_removed_binding_may_come_back_at_once),
        cmocka_unit_test(gruu_epochs_rise),
        cmocka_unit_test(an_epoch_is_the_devices),
        cmocka_unit_test(a_phone_is_told_its_gruus),
        cmocka_unit_test(outbound_is_said),
        cmocka_unit_test(short_memory_changes_nothing),
        cmocka_unit_test(agrees_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
