/* The lines of a scenario and its commands; README.md tells what each means. */
#include "replay.h"

#include "base/units.h"
#include "guard/overload.h"
#include "registrar/location.h"
#include "sip/flow.h"

/* ---- lines ---- */

bool script_read(struct world *w, slice bytes, struct script *out) {
    unsigned count = 1, number = 0;
    for (size_t i = 0; i < bytes.len; i++) count += bytes.ptr[i] == '\n';
    *out = (struct script){ .lines = arena_alloc(&w->arena, count * sizeof(struct line)) };
    if (!out->lines) return complain(w, "the scenario is too long for its memory");
    for (slice line; slice_split(&bytes, '\n', &line);) {
        number++;
        slice text = slice_trim(line);
        if (!text.len || slice_starts(text, SLICE("#"))) continue;
        out->lines[out->count++] = (struct line){ number, text, (unsigned)(text.ptr - line.ptr) };
    }
    return true;
}

bool script_more(struct script *s, slice *out) {
    if (s->at == s->count || s->lines[s->at].indent <= s->indent) return false;
    *out = s->lines[s->at++].text;
    return true;
}

/* ---- setting the scene ---- */

typedef bool command_fn(struct world *w, slice rest, struct script *s);

static bool cmd_words(struct world *w, slice rest, struct script *s) { /* title, rule, says, row */
    (void)s;
    return rest.len > 0 || complain(w, "an empty line of the head");
}

static bool before_start(struct world *w) {
    return !w->node || complain(w, "this must stand before the first flow");
}

static bool cmd_domain(struct world *w, slice rest, struct script *s) {
    (void)s;
    while (rest.len && w->config.domain_count < NODE_DOMAINS_MAX)
        w->config.domains[w->config.domain_count++] = text_keep(w, text_word(&rest));
    return before_start(w);
}

static bool cmd_workers(struct world *w, slice rest, struct script *s) {
    (void)s;
    uint32_t n;
    if (slice_u32(rest, 16, &n) != ERR_OK || n == 0) return complain(w, "workers 1 to 16");
    w->config.workers = n > w->spread ? n : w->spread;
    return before_start(w);
}

static bool cmd_set(struct world *w, slice rest, struct script *s) {
    (void)s;
    slice name = text_word(&rest);
    struct {
        const char *name;
        uint32_t *to;
    } numbers[] = {
        { "expires_min_s", &w->config.expires_min_s },
        { "expires_max_s", &w->config.expires_max_s },
        { "expires_default_s", &w->config.expires_default_s },
        { "contacts_max", &w->config.contacts_max },
        { "nonce_life_s", &w->config.nonce_life_s },
        { "timer_c_s", &w->config.timer_c_s },
        { "group_ring_s", &w->config.group_ring_s },
        { "session_timer_s", &w->config.session_timer_s },
        { "flow_idle_s", &w->config.flow_idle_s },
        { "flows_max", &w->config.flows_max },
        { "domain_burst", &w->config.guard.domain.burst },
    };
    if (slice_eq(name, SLICE("name"))) {
        w->config.name = text_keep(w, rest);
        return before_start(w);
    }
    if (slice_eq(name, SLICE("relay_urls"))) {
        static const uint8_t key[32] = "the key of a relay that is told.";
        w->config.relay_key = key;
        w->config.stun_urls = SLICE("[\"stun:example.org:3478\"]");
        w->config.relay_urls = text_keep(w, rest);
        return before_start(w);
    }
    if (slice_eq(name, SLICE("recurse_own"))) {
        w->config.recurse_own = slice_eq(rest, SLICE("on"));
        return before_start(w);
    }
    if (slice_eq(name, SLICE("force_mail"))) {
        w->config.force_mail = true;
        return before_start(w);
    }
    if (slice_eq(name, SLICE("digest_sha512_256"))) {
        w->config.digest_sha512_256 = true;
        return before_start(w);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (slice_eq(name, slice_str(numbers[i].name)))
            return (slice_u32(rest, UINT32_MAX, numbers[i].to) == ERR_OK && before_start(w)) ||
                   complain(w, "a number, before the first flow");
    return complain(w, "there is no setting " SLICE_FMT, SLICE_ARG(name));
}

/* user NAME [secret S] [aliases A,B] */
static bool cmd_user(struct world *w, slice rest, struct script *s) {
    (void)s;
    if (w->user_count == USERS_MAX) return complain(w, "too many users");
    struct user *u = &w->users[w->user_count++];
    *u = (struct user){ .name = text_keep(w, text_word(&rest)), .id = w->user_count };
    u->secret = text_make(w, "secret-of-" SLICE_FMT, SLICE_ARG(u->name));
    while (rest.len) {
        slice word = text_word(&rest), value = text_word(&rest);
        if (slice_eq(word, SLICE("secret")))
            u->secret = text_keep(w, value);
        else if (slice_eq(word, SLICE("aliases")))
            u->aliases = text_keep(w, value);
        else
            return complain(w, "user NAME [secret S] [aliases A,B]");
    }
    return before_start(w);
}

/* phone NAME of USER: a device certificate. legacy NAME of USER secret S [for DURATION]. */
static bool new_phone(struct world *w, slice rest, uint8_t kind) {
    if (w->phone_count == USERS_MAX) return complain(w, "too many devices");
    struct phone *p = &w->phones[w->phone_count++];
    p->name = text_keep(w, text_word(&rest));
    p->id = w->phone_count;
    (void)text_word(&rest); /* of */
    const struct user *u = world_user(w, text_word(&rest));
    if (!u) return false;
    p->row = (struct device_row){
        .id = p->id, .account_id = u->id, .kind = kind, .name = p->name, .created = w->now.wall
    };
    p->row.key_hash[0] = (uint8_t)p->id;
    while (rest.len) {
        slice word = text_word(&rest), value = text_word(&rest);
        int64_t ms;
        if (slice_eq(word, SLICE("secret")))
            p->row.name = text_keep(w, value);
        else if (slice_eq(word, SLICE("for")) && duration_read(value, INT64_MAX / 2, &ms) == ERR_OK)
            p->row.until = w->now.wall + ms;
        else
            return complain(w, "what is \"" SLICE_FMT "\" here?", SLICE_ARG(word));
    }
    return before_start(w);
}
static bool cmd_phone(struct world *w, slice rest, struct script *s) {
    (void)s;
    return new_phone(w, rest, DEVICE_CERTIFICATE);
}
static bool cmd_legacy(struct world *w, slice rest, struct script *s) {
    (void)s;
    return new_phone(w, rest, DEVICE_LEGACY);
}

static const struct phone *phone_named(struct world *w, slice name) {
    for (unsigned i = 0; i < w->phone_count; i++)
        if (slice_eq(w->phones[i].name, name)) return &w->phones[i];
    (void)complain(w, "there is no device " SLICE_FMT, SLICE_ARG(name));
    return NULL;
}

/* ---- flows ---- */

static bool read_transport(struct world *w, slice word, uint8_t *out) {
    static const char *const names[] = { "udp", "tcp", "tls", "wss" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(word, slice_str(names[i]))) {
            *out = (uint8_t)i;
            return true;
        }
    return complain(w, "udp, tcp, tls or wss");
}

static bool read_peer(struct world *w, struct agent *a, slice word) {
    if (addr_read(word, &a->info.peer) != ERR_OK) return complain(w, "address:port");
    bool is_v6 = a->info.peer.family == ADDR_V6;
    slice local = is_v6 ? SLICE("[2001:db8::1]:5061") : SLICE("192.0.2.1:5061");
    if (addr_read(local, &a->info.local) != ERR_OK) return complain(w, "our own address");
    if (a->info.transport < FLOW_TLS) a->info.local.port = 5060;
    char mem[64];
    struct buf b = buf_over(mem, sizeof mem);
    addr_put(&b, &a->info.peer);
    slice user = slice_head(a->user, slice_find(a->user, '@'));
    a->contact =
        text_make(w, "sip:" SLICE_FMT "@" SLICE_FMT "%s", SLICE_ARG(user), SLICE_ARG(buf_slice(&b)),
                  a->info.transport == FLOW_TCP   ? ";transport=tcp"
                  : a->info.transport == FLOW_WSS ? ";transport=ws"
                                                  : "");
    return true;
}

static bool flow_option(struct world *w, struct agent *a, slice word, slice value) {
    uint32_t n;
    if (slice_eq(word, SLICE("worker")) && slice_u32(value, w->config.workers, &n) == ERR_OK && n) {
        a->worker = n - 1;
    } else if (slice_eq(word, SLICE("as"))) {
        a->user = text_keep(w, value);
    } else if (slice_eq(word, SLICE("lane")) && slice_eq(value, SLICE("legacy"))) {
        a->info.lane = LANE_LEGACY;
    } else if (slice_eq(word, SLICE("reg-id")) && slice_u32(value, 1000, &n) == ERR_OK && n) {
        a->reg_id = n;
    } else if (slice_eq(word, SLICE("instance"))) {
        a->instance = slice_eq(value, SLICE("none")) ? SLICE_NONE : text_keep(w, value);
    } else if (slice_eq(word, SLICE("cert"))) {
        a->cert = text_keep(w, value);
    } else if (slice_eq(word, SLICE("cert-is"))) {
        a->cert_is = text_keep(w, value);
    } else if (slice_eq(word, SLICE("that")) && a->server) {
        return server_kind(w, a, value);
    } else if (slice_eq(word, SLICE("key"))) {
        const struct phone *p = phone_named(w, value);
        if (!p) return false;
        a->info.has_device_key = true;
        memcpy(a->info.device_key, p->row.key_hash, 32);
    } else {
        return complain(w, "what is \"" SLICE_FMT " " SLICE_FMT "\" here?", SLICE_ARG(word),
                        SLICE_ARG(value));
    }
    return true;
}

/* flow NAME TRANSPORT PEER [as USER] [worker N] [key PHONE] [lane legacy] [instance URN|none]
 * [reg-id N] */
static bool new_agent(struct world *w, slice rest, bool is_server) {
    if (!world_start(w)) return false;
    if (w->agent_count == AGENTS_MAX) return complain(w, "too many agents");
    struct agent *a = &w->agents[w->agent_count];
    memset(a, 0, sizeof *a);
    a->name = text_keep(w, text_word(&rest));
    if (world_agent(w, a->name)) return complain(w, "that flow exists: close and reopen it");
    a->server = is_server ? 'o' : 0;
    a->info.transport = FLOW_TLS;
    if (!is_server && !read_transport(w, text_word(&rest), &a->info.transport)) return false;
    slice peer = text_word(&rest);
    unsigned phones = 0;
    for (unsigned i = 0; i < w->agent_count; i++) phones += !w->agents[i].server;
    a->user = w->user_count ? w->users[phones % w->user_count].name : SLICE("nobody");
    if (w->spread) a->worker = w->agent_count % w->config.workers;
    a->instance = text_make(w, "urn:uuid:00000000-0000-1000-8000-%012u", w->agent_count + 1);
    while (rest.len) {
        slice word = text_word(&rest), value = text_word(&rest);
        if (!flow_option(w, a, word, value)) return false;
    }
    if (!read_peer(w, a, peer)) return false;
    if (is_server && !a->cert.len) a->cert = slice_from(a->user, slice_find(a->user, '@') + 1);
    w->agent_count++;
    return is_server || agent_open(w, a);
}
static bool cmd_flow(struct world *w, slice rest, struct script *s) {
    (void)s;
    return new_agent(w, rest, false);
}
/* peers.c tells of servers. */
static bool cmd_server(struct world *w, slice rest, struct script *s) {
    (void)s;
    return new_agent(w, rest, true);
}

static bool each_agent(struct world *w, slice rest, bool (*visit)(struct world *, struct agent *)) {
    while (rest.len) {
        slice name = text_word(&rest);
        if (slice_eq(name, SLICE("to")) || slice_eq(name, SLICE("and"))) continue;
        struct agent *a = world_agent(w, name);
        if (!a) return complain(w, "there is no flow " SLICE_FMT, SLICE_ARG(name));
        if (!visit(w, a)) return false;
    }
    return true;
}

static bool close_one(struct world *w, struct agent *a) {
    if (!a->is_open) return complain(w, SLICE_FMT " is closed already", SLICE_ARG(a->name));
    a->is_open = false;
    core_flow_closed(w->core[a->worker], a->flow, w->now);
    return world_pump(w);
}
static bool cmd_close(struct world *w, slice rest, struct script *s) {
    (void)s;
    return each_agent(w, rest, close_one);
}

/* reopen NAME [PEER] [worker N]: the same phone on a new connection; it keeps its dialogs. */
static bool cmd_reopen(struct world *w, slice rest, struct script *s) {
    (void)s;
    struct agent *a = world_agent(w, text_word(&rest));
    if (!a) return complain(w, "there is no such flow");
    if (w->spread) a->worker = (a->worker + 1) % w->config.workers;
    while (rest.len) {
        slice word = text_word(&rest);
        if (slice_find(word, ':') < word.len ? !read_peer(w, a, word)
                                             : !flow_option(w, a, word, text_word(&rest)))
            return false;
    }
    return agent_open(w, a);
}

/* ping FLOW...: a keep-alive that io answers by itself */
static bool ping_one(struct world *w, struct agent *a) {
    if (!a->is_open) return complain(w, SLICE_FMT " is closed", SLICE_ARG(a->name));
    if (a->info.transport == FLOW_UDP)
        core_datagram_heard(w->core[a->worker], &a->info, w->now);
    else
        core_flow_heard(w->core[a->worker], a->flow, w->now);
    return world_pump(w);
}
static bool cmd_ping(struct world *w, slice rest, struct script *s) {
    (void)s;
    return each_agent(w, rest, ping_one);
}

static bool silent_one(struct world *w, struct agent *a) {
    return expect_silence(w, a);
}
static bool wordless_one(struct world *w, struct agent *a) {
    return !a->inbox_count || complain(w, SLICE_FMT " has heard something", SLICE_ARG(a->name));
}
/* nothing [at all] [to FLOW...]: a 100 counts only "at all". */
static bool cmd_nothing(struct world *w, slice rest, struct script *s) {
    (void)s;
    if (slice_starts(rest, SLICE("at all"))) {
        rest = slice_trim(slice_from(rest, sizeof "at all" - 1));
        for (unsigned i = 0; !rest.len && i < w->agent_count; i++)
            if (!wordless_one(w, &w->agents[i])) return false;
        return each_agent(w, rest, wordless_one);
    }
    return rest.len ? each_agent(w, rest, silent_one) : expect_all_quiet(w);
}

/* connect ADDRESS [refused]: a connection that the source tries; it closes at once. */
static bool cmd_connect(struct world *w, slice rest, struct script *s) {
    (void)s;
    struct addr source;
    slice address = text_word(&rest);
    bool refused = slice_eq(rest, SLICE("refused"));
    if (!text_fill(w, address, &address) || !world_start(w)) return false;
    if (addr_read_ip(address, &source) != ERR_OK || (rest.len && !refused))
        return complain(w, "connect ADDRESS [refused]");
    w->now.mono++;
    w->now.wall++;
    return core_may_connect(w->core[0], &source, w->now) == !refused ||
           complain(w, refused ? "it may connect" : "it may not connect");
}

/* ---- time, store, mail ---- */

static bool cmd_wait(struct world *w, slice rest, struct script *s) {
    (void)s;
    int64_t ms;
    uint64_t n;
    size_t unit = rest.len > 2 ? rest.len - 2 : 0;
    if (slice_eq(slice_from(rest, unit), SLICE("ms")) &&
        slice_u64(slice_head(rest, unit), 1000000, &n) == ERR_OK)
        ms = (int64_t)n;
    else if (duration_read(rest, (int64_t)400 * 86400 * 1000, &ms) != ERR_OK)
        return complain(w, "wait 500ms, 32s, 3m ...");
    return world_start(w) && world_wait(w, ms);
}

/* load N% [for DURATION]: of the idle flows that have something to say so many can be read; 100%
 * is a server with time to spare (guard/overload.h). */
static bool cmd_load(struct world *w, slice rest, struct script *s) {
    (void)s;
    int64_t ms = OVERLOAD_STEP_MS;
    uint32_t percent;
    slice number = text_word(&rest), word = text_word(&rest);
    bool ok = slice_find(number, '%') == number.len - 1 &&
              slice_u32(slice_head(number, number.len - 1), 100, &percent) == ERR_OK &&
              (!word.len || (slice_eq(word, SLICE("for")) &&
                             duration_read(rest, (int64_t)3600 * 1000, &ms) == ERR_OK));
    if (!ok) return complain(w, "load N%% [for 3s]");
    if (!world_start(w)) return false;
    const struct overload_measure m = { .ms = OVERLOAD_STEP_MS,
                                        .used_us = OVERLOAD_STEP_MS * (percent < 100 ? 1000 : 500),
                                        .idle_us = percent < 100 ? 0 : OVERLOAD_STEP_MS * 500,
                                        .arrived = 100,
                                        .served = percent };
    for (; ms > 0; ms -= OVERLOAD_STEP_MS) {
        if (!world_wait(w, OVERLOAD_STEP_MS)) return false;
        for (unsigned i = 0; i < w->config.workers; i++) core_measure(w->core[i], &m, w->now);
    }
    return true;
}

/* waited MILLISECONDS: so long the following messages stood unread. */
static bool cmd_waited(struct world *w, slice rest, struct script *s) {
    (void)s;
    uint32_t ms;
    if (slice_u32(rest, 60000, &ms) != ERR_OK || !world_start(w))
        return complain(w, "waited MILLISECONDS");
    for (unsigned i = 0; i < w->config.workers; i++) core_waited(w->core[i], ms);
    return true;
}

static bool cmd_restart(struct world *w, slice rest, struct script *s) {
    (void)s;
    return !rest.len ? world_restart(w) : complain(w, "restart takes no words");
}

static bool cmd_drain(struct world *w, slice rest, struct script *s) {
    (void)s;
    (void)rest;
    for (unsigned i = 0; i < w->config.workers; i++) core_drain(w->core[i], w->now);
    return world_pump(w);
}

static bool cmd_store(struct world *w, slice rest, struct script *s) {
    (void)s;
    if (!world_start(w)) return false;
    if (slice_eq(rest, SLICE("fails")))
        store_memory_fail(w->store, 0);
    else if (slice_eq(rest, SLICE("ok")))
        store_memory_fail(w->store, -1);
    else if (slice_eq(rest, SLICE("hold")))
        w->is_store_held = true;
    else if (slice_eq(rest, SLICE("go")))
        return world_release_store(w, false);
    else if (slice_eq(rest, SLICE("go back")))
        return world_release_store(w, true);
    else
        return complain(w, "store fails, ok, hold, go or go back");
    return true;
}

static bool cmd_mail(struct world *w, slice rest, struct script *s) {
    (void)s;
    w->is_mail_reversed = slice_eq(rest, SLICE("reversed"));
    w->is_mail_refused = slice_eq(rest, SLICE("refused"));
    return w->is_mail_refused || w->is_mail_reversed || slice_eq(rest, SLICE("ordered")) ||
           complain(w, "mail ordered, reversed or refused");
}

/* ---- the operator ---- */

static bool set_flags(struct world *w, slice name, uint32_t flags) {
    struct user *u = world_user(w, name);
    if (!u || !world_start(w)) return false;
    u->flags = flags;
    return world_put_user(w, u);
}
static bool cmd_disable(struct world *w, slice rest, struct script *s) {
    (void)s;
    return set_flags(w, rest, ACCOUNT_DISABLED);
}
/* visitor USER: one of click-to-call; what proved him before counts on. */
static bool cmd_visitor(struct world *w, slice rest, struct script *s) {
    (void)s;
    return set_flags(w, rest, ACCOUNT_GUEST);
}
static bool cmd_enable(struct world *w, slice rest, struct script *s) {
    (void)s;
    return set_flags(w, rest, 0);
}

/* secret USER NEW: as `kith user secret` does. */
static bool cmd_secret(struct world *w, slice rest, struct script *s) {
    (void)s;
    struct user *u = world_user(w, text_word(&rest));
    if (!u || !world_start(w)) return false;
    u->secret = text_keep(w, rest);
    return world_put_user(w, u);
}

/* wants USER NAME=VALUE...: as `kith user set` does. */
static bool cmd_wants(struct world *w, slice rest, struct script *s) {
    (void)s;
    char mem[USER_SETTINGS_MAX], why_mem[80];
    struct user_settings wishes = { 0 };
    struct buf text = buf_over(mem, sizeof mem), why = buf_over(why_mem, sizeof why_mem);
    struct user *u = world_user(w, text_word(&rest));
    if (!u || !world_start(w) || user_settings_read(u->settings, &wishes) != ERR_OK) return false;
    for (slice pair; (pair = text_word(&rest)).len;) {
        size_t at = slice_find(pair, '=');
        if (user_settings_set(&wishes, slice_head(pair, at),
                              at < pair.len ? slice_from(pair, at + 1) : SLICE_NONE,
                              &why) != ERR_OK)
            return complain(w, SLICE_FMT ": " SLICE_FMT, SLICE_ARG(pair),
                            SLICE_ARG(buf_slice(&why)));
    }
    user_settings_put(&text, &wishes);
    u->settings = text_keep(w, buf_slice(&text));
    return world_put_user(w, u);
}

static bool cmd_revoke(struct world *w, slice rest, struct script *s) {
    (void)s;
    const struct phone *p = phone_named(w, rest);
    if (!p || !world_start(w)) return false;
    struct device_row row = p->row;
    row.revoked = true;
    if (accounts_put_device(node_accounts(w->node), &row) != ERR_OK)
        return complain(w, "the device cannot be changed");
    const struct core_mail mail = { .kind = MAIL_DEVICE, .must_arrive = true, .number = p->id };
    for (unsigned i = 0; i < w->config.workers; i++) core_mail_in(w->core[i], &mail, w->now);
    return world_pump(w);
}

static bool count_binding(void *ctx, const struct binding_row *row) {
    (void)row;
    ++*(uint32_t *)ctx;
    return true;
}
/* bindings USER N */
static bool cmd_bindings(struct world *w, slice rest, struct script *s) {
    (void)s;
    const struct user *u = world_user(w, text_word(&rest));
    uint32_t wanted, got = 0;
    if (!u || slice_u32(rest, 1000, &wanted) != ERR_OK) return complain(w, "bindings USER N");
    location_each(node_location(w->node), u->id, w->now.wall, count_binding, &got);
    return got == wanted ||
           complain(w, SLICE_FMT " has %u bindings, not %u", SLICE_ARG(u->name), got, wanted);
}

/* proxy/dialogs.h, which cannot be included: its struct dialog is not ours. */
uint32_t dialogs_count(const struct dialogs *d);

/* calls N: the server keeps the record of so many. */
static bool cmd_calls(struct world *w, slice rest, struct script *s) {
    (void)s;
    uint32_t wanted, got = dialogs_count(node_dialogs(w->node));
    if (slice_u32(rest, 1000, &wanted) != ERR_OK) return complain(w, "calls N");
    return got == wanted || complain(w, "%u calls are known, not %u", got, wanted);
}

/* ---- short for many lines ---- */

static const char register_text[] = "$1 -> REGISTER sip:{domain}\n"
                                    "    from $2\n"
                                    "    Expires: $3\n"
                                    "$1 <- 401\n"
                                    "$1 -> again\n"
                                    "    auth $2\n"
                                    "$1 <- 200\n"
                                    "    Contact: ~ *expires=*\n";
static const char call_text[] = "$1 -> INVITE sip:$3@{domain}\n"
                                "    sdp dtls\n"
                                "$2 <- INVITE\n"
                                "    sdp dtls\n"
                                "$2 -> 180 to INVITE\n"
                                "$1 <- 180\n"
                                "$2 -> 200 to INVITE\n"
                                "    sdp dtls2\n"
                                "$1 <- 200 to INVITE\n"
                                "    sdp dtls2\n"
                                "$1 -> ACK\n"
                                "$2 <- ACK\n";
static const char hangup_text[] = "$1 -> BYE\n"
                                  "$2 <- BYE\n"
                                  "$2 -> 200 to BYE\n"
                                  "$1 <- 200 to BYE\n";

static bool run_text(struct world *w, const char *text, const slice args[3]) {
    char mem[2048];
    struct buf b = buf_over(mem, sizeof mem);
    for (const char *p = text; *p; p++) {
        if (*p == '$' && p[1] >= '1' && p[1] <= '3')
            buf_put(&b, args[*++p - '1']);
        else
            buf_byte(&b, *p);
    }
    struct script inner;
    unsigned line = w->line;
    if (b.full || !script_read(w, text_keep(w, buf_slice(&b)), &inner)) return false;
    for (unsigned i = 0; i < inner.count; i++) inner.lines[i].number = line;
    return script_run(w, &inner);
}

/* register FLOW [USER] [SECONDS] */
static bool cmd_register(struct world *w, slice rest, struct script *s) {
    (void)s;
    slice args[3] = { text_word(&rest), text_word(&rest), text_word(&rest) };
    const struct agent *a = world_agent(w, args[0]);
    if (!a) return complain(w, "register FLOW [USER] [SECONDS]");
    if (!args[1].len) args[1] = a->user;
    if (!args[2].len) args[2] = SLICE("3600");
    return run_text(w, register_text, args);
}
/* call FLOW FLOW [USER] */
static bool cmd_call(struct world *w, slice rest, struct script *s) {
    (void)s;
    slice args[3] = { text_word(&rest), text_word(&rest), text_word(&rest) };
    const struct agent *b = world_agent(w, args[1]);
    if (!b) return complain(w, "call FLOW FLOW [USER]");
    if (!args[2].len) args[2] = b->user;
    return run_text(w, call_text, args);
}
/* hangup FLOW FLOW: the first one hangs up */
static bool cmd_hangup(struct world *w, slice rest, struct script *s) {
    (void)s;
    slice args[3] = { text_word(&rest), text_word(&rest), SLICE_NONE };
    return run_text(w, hangup_text, args);
}

/* The lines under a command. */
static struct script block_of(struct script *s) {
    struct script block = { .lines = &s->lines[s->at] };
    for (slice line; script_more(s, &line);) block.count++;
    if (block.count) block.indent = block.lines[0].indent;
    return block;
}

/* repeat N: the indented lines so often; {round} counts from 1. */
static bool cmd_repeat(struct world *w, slice rest, struct script *s) {
    uint32_t rounds;
    struct script block = block_of(s);
    if (slice_u32(rest, ROUNDS_MAX, &rounds) != ERR_OK || !rounds || !block.count)
        return complain(w, "repeat 1 to %d, and lines under it", ROUNDS_MAX);
    for (uint32_t i = 1; i <= rounds; i++) {
        block.at = 0;
        text_set(w, SLICE("round"), text_make(w, "%u", i));
        if (!script_run(w, &block)) return complain(w, "    in round %u of %u", i, rounds);
    }
    return true;
}

static struct tally *tally_named(struct world *w, slice name) {
    for (unsigned i = 0; i < w->tally_count; i++)
        if (slice_eq(w->tallies[i].name, name)) return &w->tallies[i];
    return NULL;
}

/* when FLOW <- WHAT [counts NAME]: the indented lines if that is what comes next, else nothing. */
static bool cmd_when(struct world *w, slice rest, struct script *s) {
    struct script block = block_of(s);
    struct agent *a = world_agent(w, text_word(&rest));
    slice arrow = text_word(&rest), what = text_word(&rest), counts = text_word(&rest);
    bool ok = a && block.count && what.len && slice_eq(arrow, SLICE("<-")) &&
              (!counts.len || (slice_eq(counts, SLICE("counts")) && rest.len));
    if (!ok) return complain(w, "when FLOW <- WHAT [counts NAME], and lines under it");
    bool is_next = expect_is_next(a, what);
    struct tally *t = tally_named(w, rest);
    if (counts.len && !t && w->tally_count < TALLIES_MAX) {
        t = &w->tallies[w->tally_count++];
        *t = (struct tally){ .name = text_keep(w, rest) };
    }
    if (counts.len && !t) return complain(w, "too many names to count");
    if (t) t->count += is_next;
    return !is_next || script_run(w, &block);
}

/* counted NAME LOW to HIGH: so often; then it begins at 0 again. */
static bool cmd_counted(struct world *w, slice rest, struct script *s) {
    (void)s;
    slice name = text_word(&rest), low = text_word(&rest), to = text_word(&rest);
    uint32_t least, most;
    if (slice_u32(low, ROUNDS_MAX, &least) != ERR_OK || !slice_eq(to, SLICE("to")) ||
        slice_u32(rest, ROUNDS_MAX, &most) != ERR_OK)
        return complain(w, "counted NAME LOW to HIGH");
    struct tally *t = tally_named(w, name);
    if (!t) return complain(w, "nothing counts " SLICE_FMT, SLICE_ARG(name));
    unsigned got = t->count;
    t->count = 0;
    return (got >= least && got <= most) ||
           complain(w, SLICE_FMT ": %u times, not %u to %u", SLICE_ARG(name), got, least, most);
}

/* ---- running ---- */

static const struct {
    const char *name;
    command_fn *run;
} commands[] = {
    { "title", cmd_words },       { "rule", cmd_words },      { "says", cmd_words },
    { "row", cmd_words },         { "domain", cmd_domain },   { "workers", cmd_workers },
    { "set", cmd_set },           { "user", cmd_user },       { "phone", cmd_phone },
    { "legacy", cmd_legacy },     { "flow", cmd_flow },       { "close", cmd_close },
    { "reopen", cmd_reopen },     { "nothing", cmd_nothing }, { "wait", cmd_wait },
    { "restart", cmd_restart },   { "drain", cmd_drain },     { "store", cmd_store },
    { "mail", cmd_mail },         { "disable", cmd_disable }, { "enable", cmd_enable },
    { "secret", cmd_secret },     { "revoke", cmd_revoke },   { "bindings", cmd_bindings },
    { "register", cmd_register }, { "call", cmd_call },       { "hangup", cmd_hangup },
    { "wants", cmd_wants },       { "repeat", cmd_repeat },   { "connect", cmd_connect },
    { "load", cmd_load },         { "waited", cmd_waited },   { "ping", cmd_ping },
    { "server", cmd_server },     { "peers", cmd_peers },     { "peer", cmd_peer },
    { "dns", cmd_dns },           { "asked", cmd_asked },     { "become", cmd_become },
    { "connects", cmd_connects }, { "tried", cmd_tried },     { "calls", cmd_calls },
    { "when", cmd_when },         { "counted", cmd_counted }, { "visitor", cmd_visitor },
};

/* A -> ..., A <- ..., A closed */
static bool run_agent(struct world *w, struct agent *a, slice rest, struct script *s) {
    slice what = text_word(&rest);
    if (slice_eq(what, SLICE("->"))) return say(w, a, rest, s);
    if (slice_eq(what, SLICE("<-"))) return expect(w, a, rest, s);
    if (!slice_eq(what, SLICE("closed"))) return complain(w, "FLOW -> ..., <- ... or closed");
    if (!a->is_dropped) return complain(w, SLICE_FMT " was not closed", SLICE_ARG(a->name));
    a->is_dropped = false;
    return true;
}

static bool run_line(struct world *w, slice text, struct script *s) {
    slice rest = text, word = text_word(&rest);
    struct agent *a = world_agent(w, word);
    if (a) return run_agent(w, a, rest, s);
    if (slice_starts(word, SLICE("title:"))) return true;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        slice name = slice_str(commands[i].name);
        if (slice_eq(word, name) ||
            (slice_starts(word, name) && slice_eq(slice_from(word, name.len), SLICE(":"))))
            return commands[i].run(w, rest, s);
    }
    return complain(w, "neither a command nor a flow: " SLICE_FMT, SLICE_ARG(word));
}

bool script_run(struct world *w, struct script *s) {
    while (s->at < s->count) {
        const struct line *l = &s->lines[s->at++];
        w->line = l->number;
        if (l->indent != s->indent) return complain(w, "this line belongs to nothing");
        if (!run_line(w, l->text, s)) return false;
    }
    return true;
}
