#include "unit.h"

#include "os/sandbox.h"
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child: there is no way back. The bits of its exit code tell what is not as it should be. */
static int what_is_left(void) {
    struct rlimit core;
    int wrong = sandbox_enter() != ERR_OK;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) wrong |= 2;
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) wrong |= 4;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0) wrong |= 8;
    return wrong;
}

static void gives_up_rights(void **state) {
    (void)state;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(what_is_left());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(gives_up_rights) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
