#include "unit.h"

#include "base/list.h"

struct thing {
    int number;
    struct list link;
};

static int pop_number(struct list *head) {
    struct list *item = list_pop(head);
    return item ? LIST_ITEM(item, struct thing, link)->number : -1;
}

static void comes_out_in_order(void **state) {
    (void)state;
    struct list head;
    struct thing things[3] = { { .number = 0 }, { .number = 1 }, { .number = 2 } };
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    for (int i = 0; i < 3; i++) {
        assert_false(list_linked(&things[i].link)); /* zeroed is enough */
        list_push(&head, &things[i].link);
        assert_true(list_linked(&things[i].link));
    }
    for (int i = 0; i < 3; i++) assert_int_equal(pop_number(&head), i);
    assert_int_equal(pop_number(&head), -1);
}

static void one_is_taken_from_the_middle(void **state) {
    (void)state;
    struct list head;
    struct thing things[3] = { { .number = 0 }, { .number = 1 }, { .number = 2 } };
    list_init(&head);
    for (int i = 0; i < 3; i++) list_push(&head, &things[i].link);
    list_remove(&things[1].link);
    assert_false(list_linked(&things[1].link));
    list_remove(&things[1].link); /* once more does nothing */
    list_push(&head, &things[1].link);
    assert_int_equal(pop_number(&head), 0);
    assert_int_equal(pop_number(&head), 2);
    assert_int_equal(pop_number(&head), 1);
    assert_true(list_empty(&head));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_out_in_order),
        cmocka_unit_test(one_is_taken_from_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
