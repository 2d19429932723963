/* io/io_test_core.h - a core for the tests of io: it has the symbols of core/core.h and answers
 * what the test's headers ask for, so that io is tested without SIP.
 *
 *   X-Do: echo          200 with the message's size and the flow's device key
 *   X-Do: close         200, then FX_CLOSE
 *   X-Do: flood <n>     n bytes of a response
 *   X-Do: mail <w>      asks worker w, which answers by MAIL_SEND; refused: 503
 *   X-Do: store         FX_STORE; 200 when core_stored comes
 *   X-Do: timer <ms>    200 later
 *   X-Do: trace         FX_TRACE and 200
 *   X-Do: silence       nothing
 *   X-Do: call          its flow is in a call from here on
 *   X-Do: hold          stays in core_receive until fake.let_go counts as many as there were
 *   X-Do: connect <p>   FX_CONNECT to port p of loopback for example.com; 200 with X-Outcome when
 *                       core_connected comes
 *   X-Do: cancel        FX_CONNECT_CANCEL of that, and 200
 *   X-Do: peer          FX_SEND of a request over the connection made last, and 200
 *   X-Do: dns           FX_DNS for the A of sip.example.org; 200 with X-Outcome when core_dns comes
 * Calls are counted in `struct fake`, read by the test through atomics. */
#ifndef IO_IO_TEST_CORE_H
#define IO_IO_TEST_CORE_H

#include "core/core.h"
#include "os/loop.h"
#include <stdatomic.h>

#define FAKE_AGES 8
struct fake {
    _Atomic uint64_t opened, closed, received, bad, mails, refused, stored, drained, heard,
        measures, certs;
    _Atomic uint64_t flow_in_call, held, let_go;
    _Atomic uint32_t ages[FAKE_AGES]; /* of the messages received first: how long they waited */
};
struct fake *fake_of(struct core *c);

#define PATIENCE_MS 20000 /* a test that waits this long has failed */

/* What another thread will have done soon. */
#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        mono_t until_ = clock_mono() + PATIENCE_MS;                                                \
        while (!(condition) && clock_mono() < until_) (void)poll(NULL, 0, 1);                      \
        assert_true(condition);                                                                    \
    } while (0)

#endif
