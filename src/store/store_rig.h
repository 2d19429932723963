/* store/store_rig.h - what every store must do, told once; and rows for the tests of one backend.
 *
 * A backend's test program links store_rig.c, says how a store is opened and names the suite:
 *
 *   struct store *store_rig_open(void) { ... }
 *   struct store *store_rig_again(struct store *s) { ... }
 *   const struct CMUnitTest tests[] = { STORE_RIG_TESTS(setup, teardown), TEST(its_own) };   */
#ifndef STORE_STORE_RIG_H
#define STORE_STORE_RIG_H

#include "store/store.h"

/* ---- what the test program gives ---- */

struct store *store_rig_open(void); /* an empty one in each test; fails the test if it can't */
/* Closed and opened again, where a store outlives its process; else the same. */
struct store *store_rig_again(struct store *s);

/* ---- rows ---- */

/* Every member is set to something. */
struct store_change rig_account(uint32_t id, const char *user);
struct store_change rig_device(uint32_t id, uint32_t account_id);
struct store_change rig_binding(uint32_t account_id, uint32_t bid);

struct rig_seen {
    unsigned accounts, devices, bindings;
    uint32_t last_account, last_device, last_bid;
    bool exact;      /* every member must be that of account 1 alice, device 7, binding 9 */
    enum err answer; /* of the callback for accounts */
};
struct store_reader rig_reader(struct rig_seen *seen);
struct rig_seen rig_look(struct store *s, bool exact);

/* ---- the suite ---- */

void store_rig_brings_everything_back(void **state);
void store_rig_changing_an_account_keeps_its_bindings(void **state);
void store_rig_removes_with_the_account(void **state);
void store_rig_drops_what_has_no_account(void **state);
void store_rig_keeps_named_values(void **state);
void store_rig_a_refresh_moves_numbers_only(void **state);
void store_rig_the_newest_change_counts(void **state);
void store_rig_a_callback_ends_the_load(void **state);

#define STORE_RIG_TEST(f, setup, teardown)                                                         \
    cmocka_unit_test_setup_teardown(store_rig_##f, setup, teardown)
#define STORE_RIG_TESTS(s, t)                                                                      \
    STORE_RIG_TEST(brings_everything_back, s, t),                                                  \
        STORE_RIG_TEST(changing_an_account_keeps_its_bindings, s, t),                              \
        STORE_RIG_TEST(removes_with_the_account, s, t),                                            \
        STORE_RIG_TEST(drops_what_has_no_account, s, t), STORE_RIG_TEST(keeps_named_values, s, t), \
        STORE_RIG_TEST(a_refresh_moves_numbers_only, s, t),                                        \
        STORE_RIG_TEST(the_newest_change_counts, s, t),                                            \
        STORE_RIG_TEST(a_callback_ends_the_load, s, t)

#endif
