/* The status as OpenMetrics text: names, kinds, what is left out. */
#include "unit.h"

#include "cli/metrics.h"

static char text[METRICS_TEXT_MAX];

static void put(const char *status) {
    struct buf b = buf_over(text, sizeof text - 1);
    struct json *doc = NULL;
    assert_ok(json_read(slice_str(status), &(struct json_limits){ 4096, 6 }, &doc, NULL));
    metrics_put(&b, doc);
    json_free(doc);
    assert_false(b.full);
    text[b.len] = 0;
}

static void names_are_the_members(void **state) {
    (void)state;
    put("{\"uptime_s\":7,\"calls\":3,\"requests\":12,\"version\":\"1\",\"unheard_of\":1,"
        "\"load\":{\"overloaded\":true},\"turn\":{\"on\":false,\"limits\":{\"lifetime_s\":600}}}");
    assert_string_equal(text, "# TYPE kith_uptime_seconds gauge\n"
                              "# HELP kith_uptime_seconds How long the server runs.\n"
                              "kith_uptime_seconds 7\n"
                              "# TYPE kith_calls gauge\n"
                              "# HELP kith_calls Calls that are up.\n"
                              "kith_calls 3\n"
                              "# TYPE kith_load_overloaded gauge\n"
                              "# HELP kith_load_overloaded 1: new requests are refused because "
                              "of the load.\n"
                              "kith_load_overloaded 1\n"
                              "# TYPE kith_turn_on gauge\n"
                              "# HELP kith_turn_on 1: the relay is on.\n"
                              "kith_turn_on 0\n"
                              "# TYPE kith_turn_limits_lifetime_seconds gauge\n"
                              "# HELP kith_turn_limits_lifetime_seconds Life of an allocation "
                              "that asks for none.\n"
                              "kith_turn_limits_lifetime_seconds 600\n"
                              "# TYPE kith_requests counter\n"
                              "# HELP kith_requests SIP requests received.\n"
                              "kith_requests_total 12\n"
                              "# EOF\n");
}

static void nothing_to_tell_is_a_whole_text(void **state) {
    (void)state;
    put("{\"calls\":\"many\",\"load\":3}");
    assert_string_equal(text, "# EOF\n");
}

static int setup(void **state) {
    (void)state;
    json_init();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_members),
        cmocka_unit_test(nothing_to_tell_is_a_whole_text),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
