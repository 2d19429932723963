#include "unit.h"

#include "auth/user_settings.h"

static struct user_settings read_ok(const char *text) {
    struct user_settings s;
    assert_ok(user_settings_read(slice_str(text), &s));
    return s;
}

static void what_is_set_is_read_again(void **state) {
    (void)state;
    static const char text[] = "dnd=on\nrefuse-anonymous=on\nforward-always=sip:bob@example.org\n"
                               "forward-busy=sips:bob@example.org\n"
                               "forward-no-answer=sip:carol@example.org,25s\n"
                               "forward-unreachable=tel:+15551234\n";
    char mem[USER_SETTINGS_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    struct user_settings s = read_ok(text);
    assert_true(s.dnd);
    assert_true(s.refuse_anonymous);
    assert_int_equal(s.no_answer_s, 25);
    assert_slice(s.forward[FORWARD_UNREACHABLE], "tel:+15551234");
    user_settings_put(&b, &s);
    assert_slice(buf_slice(&b), text);
    s = read_ok("");
    buf_clear(&b);
    user_settings_put(&b, &s);
    assert_int_equal(b.len, 0);
}

static void values(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
        enum err err;
    } rows[] = {
        { "dnd", "on", ERR_OK },
        { "dnd", "off", ERR_OK },
        { "dnd", "yes", ERR_BAD },
        { "refuse-anonymous", "on", ERR_OK },
        { "refuse-anonymous", "1", ERR_BAD },
        { "colour", "red", ERR_MISSING },
        { "forward-always", "off", ERR_OK },
        { "forward-always", "", ERR_OK },
        { "forward-always", "bob", ERR_BAD },
        { "forward-always", "http://example.org/", ERR_BAD },
        { "forward-always", "sip:example.org", ERR_BAD },
        { "forward-always", "sip:bob@example.org?Subject=x", ERR_BAD },
        { "forward-always", "sip:bob:secret@example.org", ERR_BAD },
        { "forward-always", "sip:bob@example.org\ndnd=on", ERR_BAD },
        { "forward-always", "sip:bob@example.org>;x", ERR_BAD },
        { "forward-no-answer", "sip:bob@example.org", ERR_OK },
        { "forward-no-answer", "sip:a,b@example.org", ERR_OK }, /* a comma may stand in a user */
        { "forward-no-answer", "sip:bob@example.org,3s", ERR_OK },
        { "forward-no-answer", "sip:bob@example.org,2s", ERR_BAD },
        { "forward-no-answer", "sip:bob@example.org,171s", ERR_BAD },
        { "forward-no-answer", "sip:bob@example.org,soon", ERR_BAD },
        { "forward-no-answer", ",20s", ERR_BAD },
    };
    char mem[80];
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct user_settings s = { 0 };
        struct buf why = buf_over(mem, sizeof mem);
        enum err e = user_settings_set(&s, slice_str(rows[i].name), slice_str(rows[i].value), &why);
        if (e != rows[i].err) print_error("%s=%s\n", rows[i].name, rows[i].value);
        assert_err(e, rows[i].err);
        assert_int_equal(why.len != 0, e == ERR_BAD);
    }
}

static void limits(void **state) {
    (void)state;
    struct user_settings s;
    char text[2048], mem[80];
    struct buf why = buf_over(mem, sizeof mem);
    memset(text, 'a', sizeof text);
    memcpy(text, "sip:", 4);
    memcpy(text + 245, "@example.org", 12);
    assert_ok(user_settings_set(&s, SLICE("forward-busy"), slice_of(text, 256), &why));
    assert_err(user_settings_set(&s, SLICE("forward-busy"), slice_of(text, 257), &why), ERR_LIMIT);
    assert_err(user_settings_read(slice_of(text, USER_SETTINGS_MAX + 1), &s), ERR_LIMIT);
    assert_err(user_settings_read(SLICE("dnd"), &s), ERR_BAD);
    assert_err(user_settings_read(SLICE("dnd=maybe"), &s), ERR_BAD);
    assert_err(user_settings_read(SLICE("x=y"), &s), ERR_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_set_is_read_again),
        cmocka_unit_test(values),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
