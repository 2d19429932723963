#include "os/sandbox.h"

#include <sys/prctl.h>
#include <sys/resource.h>

enum err sandbox_enter(void) {
    const struct rlimit none = { 0, 0 };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ERR_DENIED;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return ERR_DENIED;
    return setrlimit(RLIMIT_CORE, &none) == 0 ? ERR_OK : ERR_DENIED;
}
