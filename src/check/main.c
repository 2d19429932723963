/* check/main.c - the command line of `kith check`. */
#include "base/mem.h"
#include "check/check.h"
#include "check/gate.h"
#include "check/link.h"
#include "check/locate.h"
#include "check/phone.h"
#include "check/report.h"
#include "check/run.h"
#include "check/sign.h"
#include "crypto/crypto.h"
#include "os/socket.h"
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum exit_code { EXIT_GOOD = 0, EXIT_FAILS = 1, EXIT_WRONG = 2, EXIT_NOBODY = 3 };

struct wishes {
    struct run *run;
    const char *also, *accounts, *area, *level, *row, *json, *html, *junit, *baseline, *sign, *name,
        *cert, *hands, *numbers, *listen, *fixed, *udp, *tcp, *wss;
    unsigned wait_s;
    bool resume, list;
};

#define HELP_COLUMN 27 /* where what an option does begins, */
#define HELP_WIDTH  100

static void put_option(FILE *to, const struct check_option *o) {
    char left[64];
    (void)snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
                   o->value ? o->value : "");
    (void)fprintf(to, "  %-*s", HELP_COLUMN - 3, left);
    size_t at = HELP_COLUMN - 1;
    for (slice word, rest = slice_str(o->help); rest.len; rest = slice_from(rest, word.len + 1)) {
        word = slice_head(rest, slice_find(rest, ' '));
        if (at + 1 + word.len > HELP_WIDTH) {
            (void)fprintf(to, "\n%*s", HELP_COLUMN - 1, "");
            at = HELP_COLUMN - 1;
        }
        (void)fprintf(to, " " SLICE_FMT, SLICE_ARG(word));
        at += 1 + word.len;
    }
    (void)fputc('\n', to);
}

static int usage(FILE *to) {
    (void)fprintf(
        to,
        "kith check ROLE TARGET - does this product keep the Voice 3.0 profile?\n"
        "kith check verify REPORT [PUBLIC-KEY] - is the signature of a report right?\n"
        "kith check key FILE - make a key for --sign\n\n"
        "  kith check server TARGET             a server there; the tester is its phones\n"
        "  kith check relay TARGET              a TURN relay there\n"
        "  kith check trunk TARGET              a provider there; the tester is the PBX\n"
        "  kith check trunk --listen HOST:PORT  a PBX that registers with the tester, which "
        "listens "
        "there\n"
        "  kith check phone HOST:PORT           a phone that does\n"
        "  kith check browser HOST:PORT         a phone in a web page that does\n\n"
        "TARGET is sips:example.org, sip:host:port, host:port or wss://host:port/path. Each "
        "requirement gets\n"
        "a verdict: pass, fail, not applicable or inconclusive, with the messages that show it.\n\n"
        "Options:\n");
    for (size_t i = 0; i < check_option_count; i++) put_option(to, &check_options[i]);
    (void)fprintf(to,
                  "\nExamples:\n  kith check server sips:example.org --accounts people.csv --html "
                  "report.html\n  kith check trunk sips:provider.example --static pbx.example:5061 "
                  "--cert pbx.pem --numbers +4930100,+4930101\n");
    return to == stdout ? EXIT_GOOD : EXIT_WRONG;
}

static int wrong(const char *what, const char *which) {
    (void)fprintf(stderr, "kith check: %s%s\n            `kith check --help` shows how.\n", what,
                  which);
    return EXIT_WRONG;
}

/* ---- reading it --------------------------------------------------------------------------- */

static bool take_option(struct wishes *w, slice name, const char *value, char *why,
                        size_t why_len) {
    struct run *run = w->run;
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } simple[] = {
        { "accounts", &w->accounts, NULL },
        { "ca", &run->ca_file, NULL },
        { "name", &w->name, NULL },
        { "udp", &w->udp, NULL },
        { "cert", &w->cert, NULL },
        { "hands", &w->hands, NULL },
        { "numbers", &w->numbers, NULL },
        { "listen", &w->listen, NULL },
        { "static", &w->fixed, NULL },
        { "also", &w->also, NULL },
        { "tcp", &w->tcp, NULL },
        { "wss", &w->wss, NULL },
        { "origin", &run->target.origin, NULL },
        { "product", &run->product, NULL },
        { "conference", &run->conference, NULL },
        { "area", &w->area, NULL },
        { "level", &w->level, NULL },
        { "row", &w->row, NULL },
        { "json", &w->json, NULL },
        { "html", &w->html, NULL },
        { "junit", &w->junit, NULL },
        { "baseline", &w->baseline, NULL },
        { "sign", &w->sign, NULL },
        { "allow-writes", NULL, &run->allow_writes },
        { "yes-i-may-test-this", NULL, &run->public_too },
        { "trust-network", NULL, &run->trust_network },
        { "resume", NULL, &w->resume },
        { "list", NULL, &w->list },
        { "quiet", NULL, &run->quiet },
    };
    for (size_t i = 0; i < ARRAY_LEN(simple); i++) {
        if (!is(name, simple[i].name)) continue;
        if (simple[i].text) *simple[i].text = value;
        if (simple[i].flag) *simple[i].flag = true;
        return true;
    }
    const struct {
        const char *name;
        unsigned *value;
        uint32_t most;
    } numbers[] = { { "rate", &run->rate, 10000 },
                    { "patience", &run->patience, 20 },
                    { "load", &run->load, 10000 },
                    { "wait", &w->wait_s, 120 },
                    { "jobs", &run->jobs, RUN_JOBS_MAX } };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint32_t n;
        if (!is(name, numbers[i].name)) continue;
        if (slice_u32(slice_str(value), numbers[i].most, &n) != ERR_OK || !n) {
            (void)snprintf(why, why_len, "--%s %s: it takes a number from 1 to %u", numbers[i].name,
                           value, numbers[i].most);
            return false;
        }
        *numbers[i].value = n;
    }
    return true;
}

/* Options into w; the other words into args. */
static int take_words(int argc, char **argv, struct wishes *w, const char *args[static 3],
                      unsigned *n) {
    char why[256];
    for (int i = 1; i < argc; i++) {
        slice word = slice_str(argv[i]);
        if (!slice_starts(word, SLICE("--"))) {
            if (*n == 3) return wrong("too many words: ", argv[i]);
            args[(*n)++] = argv[i];
            continue;
        }
        word = slice_from(word, 2);
        const struct check_option *o = NULL;
        for (size_t k = 0; k < check_option_count; k++)
            if (is(word, check_options[k].name)) o = &check_options[k];
        if (!o) return wrong("unknown option ", argv[i]);
        if (o->value && ++i == argc) return wrong("a value is missing after ", argv[i - 1]);
        if (!take_option(w, word, o->value ? argv[i] : NULL, why, sizeof why))
            return wrong(why, "");
    }
    return EXIT_GOOD;
}

static bool read_accounts(struct run *run, const char *file, char *why, size_t why_len) {
    char *mem;
    size_t len;
    if (file_slurp(file, &mem, &len) != ERR_OK) {
        (void)snprintf(why, why_len, "%s cannot be read", file);
        return false;
    }
    slice rest = slice_of(mem, len), line;
    bool good = true;
    for (unsigned n = 1; good && slice_split(&rest, '\n', &line); n++) {
        line = slice_trim(line);
        if (!line.len || *line.ptr == '#') continue;
        struct account *a = &run->accounts[run->account_count];
        size_t comma = slice_find(line, ',');
        slice aor = slice_head(line, comma);
        if (slice_starts(aor, SLICE("sip:"))) aor = slice_from(aor, 4);
        if (slice_starts(aor, SLICE("sips:"))) aor = slice_from(aor, 5);
        if (run->account_count == RUN_ACCOUNTS_MAX) {
            (void)snprintf(why, why_len, "%s has more than %u accounts: leave some out", file,
                           RUN_ACCOUNTS_MAX);
            good = false;
            break;
        }
        good = comma < line.len && slice_find(aor, '@') < aor.len &&
               slice_cstr(aor, a->aor, sizeof a->aor) &&
               slice_cstr(slice_head(aor, slice_find(aor, '@')), a->user, sizeof a->user) &&
               slice_cstr(slice_from(line, comma + 1), a->password, sizeof a->password);
        if (!good)
            (void)snprintf(why, why_len,
                           "%s, line %u: it is not aor,password, as in alice@example.org,secret",
                           file, n);
        run->account_count += good;
    }
    crypto_wipe(mem, len);
    mem_free(mem);
    return good;
}

static bool read_numbers(struct run *run, const char *given) {
    slice rest = slice_str(given), one;
    for (unsigned i = 0; i < ARRAY_LEN(run->numbers); i++) {
        bool there = slice_split(&rest, ',', &one);
        if (!there || !one.len || !slice_cstr(one, run->numbers[i], sizeof run->numbers[i]))
            return i > 0 && !there;
    }
    return !rest.len;
}

static bool listens(const struct run *run) {
    return run->role & (ROLE_PHONE | ROLE_BROWSER | ROLE_LISTENS);
}

/* ---- where the target is ------------------------------------------------------------------ */

/* "host:port" or "host"; the first address that the resolver gives, and the first of each family
 * in both[] (IPv4, IPv6). */
static bool resolve(slice place, uint16_t port, char host[static 256], struct addr *out,
                    struct addr both[]) {
    size_t colon = place.len;
    if (place.len && *place.ptr == '[') {
        size_t end = slice_find(place, ']');
        colon = end + 1 < place.len ? end + 1 : place.len;
    } else {
        colon = slice_find(place, ':');
    }
    uint32_t n = port;
    if (colon < place.len && slice_u32(slice_from(place, colon + 1), 65535, &n) != ERR_OK)
        return false;
    slice name = slice_head(place, colon);
    if (name.len > 2 && *name.ptr == '[') name = slice_of(name.ptr + 1, name.len - 2);
    if (!slice_cstr(name, host, 256)) return false;
    struct addrinfo *list = NULL;
    bool good =
        getaddrinfo(host, NULL, &(struct addrinfo){ .ai_socktype = SOCK_STREAM }, &list) == 0 &&
        addr_from_sockaddr(list->ai_addr, out) == ERR_OK;
    out->port = (uint16_t)n;
    for (struct addrinfo *i = list; good && both && i; i = i->ai_next) {
        struct addr a;
        if (addr_from_sockaddr(i->ai_addr, &a) != ERR_OK) continue;
        a.port = (uint16_t)n;
        if (!both[a.family == ADDR_V6].family) both[a.family == ADDR_V6] = a;
    }
    if (list) freeaddrinfo(list);
    return good;
}

/* wss://host[:port][/path], RFC 6455 3 */
static bool resolve_wss(struct wishes *w, const char *url, char host[static 256]) {
    struct target *g = &w->run->target;
    slice s = slice_str(url);
    if (!slice_istarts(s, SLICE("wss://"))) return false;
    s = slice_from(s, 6);
    size_t slash = slice_find(s, '/');
    return slice_cstr(slice_from(s, slash), g->path, sizeof g->path) &&
           resolve(slice_head(s, slash), 443, host, &g->at[WIRE_WSS], NULL);
}

/* A domain without a port, by RFC 3263; false: DNS names no service, or that is no domain. *good:
 * its hosts have addresses. */
static bool by_dns(struct wishes *w, slice domain, bool secure, bool *good) {
    struct target *g = &w->run->target;
    struct located found[WIRE_COUNT];
    struct addr ip;
    if (listens(w->run) || slice_find(domain, ':') < domain.len ||
        addr_read_ip(domain, &ip) == ERR_OK || !locate(domain, secure, found))
        return false;
    *good = slice_cstr(domain, g->host, sizeof g->host);
    for (enum wire i = 0; *good && i < WIRE_COUNT; i++) {
        char host[256];
        if (!found[i].host[0]) continue;
        *good = resolve(slice_str(found[i].host), found[i].port, host, &g->at[i], w->run->other);
        if (!w->run->quiet)
            (void)printf("%s: %s at %s:%u\n", g->host, wire_names[i], found[i].host, found[i].port);
    }
    return true;
}

/* Each address that a test may ask counts, the one of the other IP family too. */
static bool refuse_public(const struct run *run, char *why, size_t why_len) {
    const struct addr *all[WIRE_COUNT + 2];
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        all[i] = i < WIRE_COUNT ? &run->target.at[i] : &run->other[i - WIRE_COUNT];
        if (!all[i]->family || run_may_reach(run, all[i])) continue;
        char mem[64] = "";
        struct buf b = buf_over(mem, sizeof mem - 1);
        addr_put_ip(&b, all[i]);
        (void)snprintf(why, why_len,
                       "%s: %s is a public address.\n            Test only what you may: if you "
                       "may, add --yes-i-may-test-this",
                       run->target.given, mem);
        return false;
    }
    return true;
}

static bool find_target(struct wishes *w, const char *given, char *why, size_t why_len) {
    struct target *g = &w->run->target;
    slice s = slice_str(given);
    bool sips = slice_istarts(s, SLICE("sips:")), sip = slice_istarts(s, SLICE("sip:"));
    s = slice_from(s, sips ? 5 : sip ? 4 : 0);
    (void)snprintf(g->given, sizeof g->given, "%s", given);
    bool wss = slice_istarts(s, SLICE("wss:"));
    slice transport = uri_param(slice_str(given), "transport");
    s = slice_head(s, slice_find(s, ';'));
    struct addr at = { 0 }, other;
    char host[256];
    bool good = false, located = !wss && by_dns(w, s, sips, &good);
    if (wss) good = resolve_wss(w, given, g->host);
    if (!wss && !located) good = resolve(s, sips ? 5061 : 5060, g->host, &at, w->run->other);
    if (w->run->role == ROLE_BROWSER) { /* that is where we are, and what comes is a browser */
        if (good && !wss) g->at[WIRE_WSS] = at;
        wss = true;
    }
    bool all = good && !wss && !located;
    if (all && (sips || !sip)) g->at[WIRE_TLS] = at;
    if (all && !sips && !is_i(transport, "udp")) g->at[WIRE_TCP] = at;
    if (all && !sips && !is_i(transport, "tcp")) g->at[WIRE_UDP] = at;
    if (good && w->wss) good = resolve_wss(w, w->wss, host);
    if (good && w->udp && (good = resolve(slice_str(w->udp), 5060, host, &other, NULL)))
        g->at[WIRE_UDP] = other;
    if (good && w->tcp && (good = resolve(slice_str(w->tcp), 5060, host, &other, NULL)))
        g->at[WIRE_TCP] = other;
    if (good && w->also && (good = resolve(slice_str(w->also), at.port, host, &other, NULL)))
        w->run->other[other.family == ADDR_V6] = other;
    if (!good) {
        (void)snprintf(why, why_len,
                       "%s: no such place. It (or what --udp, --tcp, --wss, --also say) must be an "
                       "address or a name that DNS knows, with its port",
                       given);
        return false;
    }
    const char *domain = g->host;
    slice aor = slice_str(w->run->account_count ? w->run->accounts[0].aor : "");
    if (aor.len) domain = aor.ptr + slice_find(aor, '@') + 1;
    (void)snprintf(g->domain, sizeof g->domain, "%s", domain);
    (void)snprintf(g->name, sizeof g->name, "%s", w->name ? w->name : domain);
    return refuse_public(w->run, why, why_len);
}

/* ---- choosing tests ----------------------------------------------------------------------- */

/* The tests of its role; and of a trunk also those for a server, or for a phone when we listen,
 * that need no accounts and whose requirement is for trunks too. */
static bool of_role(const struct run *run, unsigned role, const struct check_test *t) {
    if (!(run->role & ROLE_TRUNK)) return role & run->role;
    if (role & ROLE_TRUNK) return role == run->role;
    return (role & (listens(run) ? ROLE_PHONE : ROLE_SERVER)) && !t->accounts &&
           (rows[t->row].roles & ROLE_TRUNK);
}

/* Is it one of `a,b,c`? */
static bool listed(const char *names, const char *one) {
    slice rest = slice_str(names), name;
    while (slice_split(&rest, ',', &name))
        if (is(name, one)) return true;
    return false;
}

static bool chosen(const struct wishes *w, const struct check_test *t) {
    const struct row *row = &rows[t->row];
    char id[128];
    return (row->roles & w->run->role) && (!w->area || listed(w->area, row->area)) &&
           (!w->level || is_i(slice_str(row_level_name(row->level)), w->level)) &&
           (!w->row || listed(w->row, row->id) || listed(w->row, test_id(t, id)));
}

static bool goes_before(const struct check_test *a, const struct check_test *b) {
    bool a_load = a->needs & NEEDS_LOAD, b_load = b->needs & NEEDS_LOAD;
    return a_load != b_load ? b_load : a->seconds > b->seconds;
}

static void choose(struct wishes *w) {
    struct run *run = w->run;
    for (size_t a = 0; a < check_area_count; a++)
        for (size_t i = 0; i < *check_areas[a].count; i++)
            if (of_role(run, check_areas[a].role, &check_areas[a].tests[i]) &&
                chosen(w, &check_areas[a].tests[i]) && run->todo_count < RUN_TESTS_MAX)
                run->todo[run->todo_count++] = &check_areas[a].tests[i];
    /* those that wait long go first: the others run meanwhile; bursts go last */
    for (unsigned i = 1; i < run->todo_count; i++)
        for (unsigned k = i; k && goes_before(run->todo[k], run->todo[k - 1]); k--) {
            const struct check_test *t = run->todo[k];
            run->todo[k] = run->todo[k - 1];
            run->todo[k - 1] = t;
        }
}

static void put_word(struct buf *b, const char *word) {
    buf_fmt(b, "%s%s", b->len ? ", " : "", word);
}

/* Each word of --area, --level and --row must be one: a slip of the pen must not look like a run in
 * which nothing failed. */
static bool right_choice(const struct wishes *w, char *why, size_t why_len) {
    slice rest = slice_str(w->row ? w->row : ""), one;
    while (slice_split(&rest, ',', &one)) {
        bool known = false, tested = false;
        slice id = slice_head(one, slice_find(one, '/'));
        char mem[128];
        for (unsigned r = 0; r < ROW_COUNT; r++) known = known || is(id, rows[r].id);
        for (unsigned i = 0; i < w->run->todo_count; i++)
            tested = tested || is(one, rows[w->run->todo[i]->row].id) ||
                     is(one, test_id(w->run->todo[i], mem));
        if (tested) continue;
        (void)snprintf(why, why_len, "--row " SLICE_FMT ": %s", SLICE_ARG(one),
                       known ? "no such test in this role and choice; --list shows which there are"
                             : "the profile has no such requirement");
        return false;
    }
    rest = slice_str(w->area ? w->area : "");
    while (slice_split(&rest, ',', &one)) {
        char mem[512];
        struct buf all = buf_over(mem, sizeof mem - 1);
        bool known = false;
        for (unsigned r = 0; r < ROW_COUNT; r++) {
            known = known || is(one, rows[r].area);
            if (!r || !is(slice_str(rows[r - 1].area), rows[r].area)) put_word(&all, rows[r].area);
        }
        mem[all.len] = 0;
        if (known) continue;
        (void)snprintf(why, why_len, "--area " SLICE_FMT ": the areas are %s", SLICE_ARG(one), mem);
        return false;
    }
    bool level = !w->level;
    for (unsigned l = 0; l < 3; l++) level = level || is_i(slice_str(row_level_name(l)), w->level);
    if (!level) (void)snprintf(why, why_len, "--level %s: MUST, SHOULD or MAY", w->level);
    if (level && !w->run->todo_count)
        (void)snprintf(why, why_len, "no test fits that choice; --list without it shows all");
    return level && w->run->todo_count;
}

static int list(const struct wishes *w) {
    char id[128];
    for (unsigned i = 0; i < w->run->todo_count; i++) {
        const struct row *row = &rows[w->run->todo[i]->row];
        (void)printf("%s\t%s\t%s\t%s\n", test_id(w->run->todo[i], id), row_level_name(row->level),
                     row->area, row->text);
    }
    return EXIT_GOOD;
}

/* ---- running ------------------------------------------------------------------------------ */

static struct run *the_run; /* for the signal only */

static void interrupted(int number) {
    the_run->stop = true;          /* tests that run are finished, no new one starts; */
    (void)signal(number, SIG_DFL); /* a second Ctrl-C does not wait for them */
}

static bool written(enum err e, const char *file) {
    if (e != ERR_OK) (void)fprintf(stderr, "kith check: %s: %s\n", file, err_text(e));
    return e == ERR_OK;
}

static int finish(struct wishes *w, const char *part) {
    struct run *run = w->run;
    struct score s;
    unsigned worse = 0;
    report_score(run, &s);
    report_summary(run);
    bool good = run->result_count == run->todo_count; /* else memory was short */
    if (run->stop) {
        if (w->json) (void)fprintf(stderr, "kith check: interrupted; --resume goes on\n");
        if (!w->json)
            (void)fprintf(stderr, "kith check: interrupted; nothing is kept without --json\n");
        return EXIT_FAILS;
    }
    if (!good)
        (void)fprintf(stderr, "kith check: %u of %u tests left no result: memory is short\n",
                      run->todo_count - run->result_count, run->todo_count);
    if (w->json) good = written(report_json(run, w->json), w->json) && good;
    if (w->json && good) (void)unlink(part);
    if (w->html) good = written(report_html(run, w->html), w->html) && good;
    if (w->junit) good = written(report_junit(run, w->junit), w->junit) && good;
    if (w->baseline) good = written(report_compare(run, w->baseline, &worse), w->baseline) && good;
    const char *const made[] = { w->json, w->html, w->junit };
    for (unsigned i = 0; w->sign && i < ARRAY_LEN(made); i++)
        if (made[i]) good = written(sign_report(made[i], w->sign), w->sign) && good;
    return good && !worse && !s.levels[LEVEL_MUST].fail && !s.levels[LEVEL_MUST].unclear
               ? EXIT_GOOD
               : EXIT_FAILS;
}

/* What goes with --static, and what does not; NULL: all is well. */
static const char *static_wish(const struct wishes *w) {
    if (!w->fixed) return NULL;
    if (w->run->role != ROLE_TRUNK)
        return "--static is for the role trunk, where the tester is the PBX: not with --listen";
    if (!w->run->numbers[1][0]) return "--static needs --numbers N1,N2: two numbers of the PBX";
    return NULL;
}

/* The PBX's place. Its only account lets one test at a time take what comes there. */
static bool static_open(struct wishes *w, char *why, size_t why_len) {
    struct run *run = w->run;
    struct addr at;
    char host[256], place[300];
    if (!resolve(slice_str(w->fixed), 5061, host, &at, NULL)) {
        (void)snprintf(why, why_len, "--static %s: no such place", w->fixed);
        return false;
    }
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(place, sizeof place, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", at.port);
    struct account *a = &run->accounts[0];
    if (!run->account_count) (void)snprintf(a->user, sizeof a->user, "%s", run->numbers[0]);
    run->account_count = 1;
    return gate_open(run, place, &at, why, why_len);
}

/* It answers; can a PBX in static mode be with it? */
static bool static_fits(const struct run *run, char *why, size_t why_len) {
    bool tls = run->target.at[WIRE_TLS].family, tcp = run->target.at[WIRE_TCP].family;
    if (!run->gate || (run->certificate ? tls : tcp && !tls)) return true;
    (void)snprintf(why, why_len, "%s",
                   run->certificate ? "--static with --cert needs a trunk that answers over TLS"
                   : tls ? "--static over TLS needs --cert FILE, by which the trunk knows the PBX"
                         : "--static needs a trunk that answers over TLS (with --cert) or TCP");
    return false;
}

/* Can that be written? Leaves no new file behind. */
static bool writable(const char *file) {
    bool there = access(file, F_OK) == 0;
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    (void)close(fd);
    if (!there) (void)unlink(file);
    return true;
}

/* What would only show when all tests have run. */
static bool files_good(const struct wishes *w, char *why, size_t why_len) {
    const char *const made[] = { w->json, w->html, w->junit };
    bool any = false;
    *why = 0;
    for (unsigned i = 0; i < ARRAY_LEN(made); i++) {
        any = any || made[i];
        if (made[i] && !writable(made[i]))
            (void)snprintf(why, why_len, "%s cannot be written", made[i]);
    }
    if (w->resume && !w->json)
        (void)snprintf(why, why_len, "--resume needs the --json FILE of the interrupted run");
    if (w->sign && !any)
        (void)snprintf(why, why_len, "--sign needs a report to sign: --json, --html or --junit");
    if (w->sign && any && sign_key_check(w->sign) != ERR_OK)
        (void)snprintf(why, why_len, "--sign %s: no key; `kith check key FILE` makes one", w->sign);
    struct json *old = NULL;
    if (w->baseline && report_read(w->baseline, &old) != ERR_OK)
        (void)snprintf(why, why_len, "--baseline %s: not a report that --json wrote", w->baseline);
    json_free(old);
    return !*why;
}

/* Opens FILE.part; with --resume what stands there counts, if it is of this target. */
static bool open_part(struct wishes *w, const char *part, char *why, size_t why_len) {
    struct run *run = w->run;
    enum err e = w->resume ? report_resume(run, part) : ERR_MISSING;
    (void)snprintf(why, why_len,
                   "%s is of another target, role or version: run again without --resume", part);
    if (e != ERR_OK && e != ERR_MISSING) return false;
    int how = e == ERR_OK ? O_APPEND : O_TRUNC;
    run->part = open(part, O_WRONLY | O_CREAT | O_CLOEXEC | how, 0600);
    if (e == ERR_MISSING && run->part >= 0) report_part_head(run);
    (void)snprintf(why, why_len, "%s cannot be written", part);
    return run->part >= 0;
}

static int check_target(struct wishes *w, const char *given) {
    struct run *run = w->run;
    char why[1200], part[1024] = ""; /* a reason may name that file */
    struct timespec now;
    if (w->listen) {
        run->role |= ROLE_LISTENS;
        given = w->listen;
    }
    if (w->numbers && !read_numbers(run, w->numbers)) return wrong("bad value for --numbers", "");
    if (w->accounts && !read_accounts(run, w->accounts, why, sizeof why)) return wrong(why, "");
    if (static_wish(w)) return wrong(static_wish(w), "");
    if (run->role != ROLE_SERVER && run->role != ROLE_RELAY) run->certificate = w->cert;
    choose(w);
    if (!right_choice(w, why, sizeof why)) return wrong(why, "");
    if (w->list) return list(w);
    if (!given)
        return wrong(listens(run) ? "at which HOST:PORT do we listen?"
                                  : "which target? For example sips:example.org",
                     "");
    if (run->role == ROLE_BROWSER && !w->cert) return wrong("role browser needs --cert FILE", "");
    if (!files_good(w, why, sizeof why)) return wrong(why, "");
    if (!find_target(w, given, why, sizeof why)) return wrong(why, "");
    if (!(run->tls = tls_context(run->ca_file, run->certificate, why, sizeof why)))
        return wrong(why, "");
    if (w->fixed && !static_open(w, why, sizeof why)) return wrong(why, "");
    if (w->json) (void)snprintf(part, sizeof part, "%s.part", w->json);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    run->started_wall = (int64_t)now.tv_sec * 1000;
    (void)signal(SIGPIPE, SIG_IGN);
    if (listens(run) && !run->quiet)
        (void)printf("Waiting for a %s to register with %s (60 s)...\n",
                     run->role == ROLE_PHONE     ? "phone"
                     : run->role == ROLE_BROWSER ? "browser"
                                                 : "PBX",
                     given),
            (void)fflush(stdout);
    bool there = listens(run)
                     ? phone_wait(run, w->cert, 60, why, sizeof why)
                     : run_probe(run, why, sizeof why) && static_fits(run, why, sizeof why);
    if (there && run->phone) {
        run->phone->wait_s = w->wait_s;
        run->phone->hands = w->hands;
    }
    if (listens(run)) run->jobs = 1;
    if (!there) {
        (void)fprintf(stderr, "kith check: %s\n", why);
        return EXIT_NOBODY;
    }
    if (w->json && !open_part(w, part, why, sizeof why)) return wrong(why, "");
    if (run->load && !run->quiet)
        (void)printf("--load: bursts of at most 2000 messages each, %u a second\n", run->load);
    the_run = run;
    (void)signal(SIGINT, interrupted);
    (void)signal(SIGTERM, interrupted);
    run_all(run);
    if (run->part >= 0) (void)close(run->part);
    return finish(w, part);
}

int check_main(int argc, char **argv) {
    struct run *run = mem_zalloc(sizeof *run);
    struct wishes w = { .run = run };
    const char *args[3] = { NULL };
    unsigned n = 0;
    for (int i = 1; i < argc; i++)
        if (is(slice_str(argv[i]), "--help")) {
            mem_free(run);
            return usage(stdout);
        }
    if (!run || crypto_init() != ERR_OK) return EXIT_WRONG;
    json_init();
    run->rate = 200;
    run->patience = 1;
    run->jobs = 32;
    run->part = -1;
    (void)pthread_mutex_init(&run->lock, NULL);
    (void)pthread_cond_init(&run->changed, NULL);
    int code = take_words(argc, argv, &w, args, &n);
    if (code == EXIT_GOOD && is(slice_str(args[0]), "verify") && n > 1) {
        code = sign_verify(args[1], args[2]) ? EXIT_GOOD : EXIT_FAILS;
    } else if (code == EXIT_GOOD && is(slice_str(args[0]), "key") && n == 2) {
        code = written(sign_key(args[1]), args[1]) ? EXIT_GOOD : EXIT_FAILS;
    } else if (code == EXIT_GOOD) {
        run->role = row_role(slice_str(args[0]));
        code = run->role & (ROLE_SERVER | ROLE_RELAY | ROLE_PHONE | ROLE_BROWSER | ROLE_TRUNK)
                   ? check_target(&w, args[1])
                   : usage(stderr);
    }
    for (unsigned i = 0; i < run->result_count; i++) mem_free(run->results[i].line);
    phone_end(run);
    gate_close(run);
    tls_context_free(run->tls);
    crypto_wipe(run->accounts, sizeof run->accounts);
    mem_free(run);
    return code;
}
