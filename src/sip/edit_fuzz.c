/* The first line says what to change, the rest is a message: what was not named comes out as it
 * was, and the result can be read. Each change is a letter and an operand. */
#include "sip/check_fuzz.h"
#include "sip/edit.h"
#include "sip/hdr.h"

static struct sip_msg m, n;
static char out[2 * LIMIT_MSG_BYTES];

struct expect {
    bool changed[LIMIT_MSG_HEADERS];
    unsigned extra;
};

static void change_all(struct expect *x, enum sip_header_id id) {
    for (const struct sip_header *h = sip_first(&m, id); h; h = sip_next(&m, h)) {
        x->changed[h - m.headers] = true;
    }
}

static void apply(struct sip_edit *e, struct expect *x, char what, unsigned char operand) {
    const struct sip_header *h = &m.headers[operand % m.header_count];
    enum sip_header_id id = (enum sip_header_id)(1 + operand % (HDR_COUNT - 1));
    switch (what) {
    case 'd':
        sip_edit_drop(e, h);
        x->changed[h - m.headers] = true;
        break;
    case 'a':
        sip_edit_drop_all(e, h->id);
        change_all(x, h->id);
        break;
    case 'r':
        sip_edit_replace(e, h, SLICE("x"));
        x->changed[h - m.headers] = true;
        break;
    case 'v':
        sip_edit_drop_values(e, HDR_ROUTE, operand % 4);
        change_all(x, HDR_ROUTE);
        break;
    case 'i':
        sip_edit_insert(e, id, SLICE("y"));
        x->extra++;
        break;
    case 'p':
        sip_edit_append(e, SLICE("Kith-Fuzz"), slice_from(SLICE("0123456789"), operand % 10));
        x->extra++;
        break;
    case 'u':
        sip_edit_request_uri(e, SLICE("sip:new@example.com"));
        break;
    case 'b':
        sip_edit_body(e, SLICE("new body"));
        change_all(x, HDR_CONTENT_LENGTH);
        break;
    default:
        break;
    }
}

/* Lines not touched are there, in their order, byte for byte. */
static void check_lines(const struct expect *x, slice written) {
    const char *at = written.ptr;
    for (unsigned i = 0; i < m.header_count; i++) {
        if (x->changed[i]) continue;
        slice rest = slice_span(at, written.ptr + written.len);
        size_t found = slice_find_slice(rest, m.headers[i].line);
        must(found < rest.len);
        at = rest.ptr + found + m.headers[i].line.len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice all = slice_of(data, size);
    size_t end = slice_find(all, '\n');
    slice orders = slice_head(all, end), message = slice_from(all, end + 1);
    if (sip_msg_read(&m, message, SIP_DATAGRAM).err != ERR_OK) return 0;
    struct sip_edit e;
    struct expect x = { .extra = 0 };
    sip_edit_init(&e, &m);
    for (size_t i = 0; i + 1 < orders.len; i += 2) {
        apply(&e, &x, orders.ptr[i], (unsigned char)orders.ptr[i + 1]);
    }
    struct buf b = buf_over(out, sizeof(out));
    enum err err = sip_edit_write(&e, &b);
    if (err == ERR_LIMIT) must(orders.len / 2 > SIP_EDITS_MAX);
    if (err != ERR_OK) return 0;
    slice written = buf_slice(&b);
    check_lines(&x, written);
    struct sip_read r = sip_msg_read(&n, written, SIP_DATAGRAM);
    if (orders.len < 2) {
        must(r.err == ERR_OK || r.err == ERR_LIMIT);
        must(written.len >= m.all.len && n.cseq == m.cseq);
    }
    if (r.err != ERR_OK) return 0; /* a compulsory header was dropped */
    must(slice_eq(n.body, e.has_body ? e.body : m.body));
    must(n.has_content_length && n.content_length == n.body.len);
    must(n.header_count <= m.header_count + x.extra + 1);
    return 0;
}
