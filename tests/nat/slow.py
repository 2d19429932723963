#!/usr/bin/env python3
"""A bad line between two hosts, where the kernel has no netem: frames are lost, the others late.

  slow.py NAMESPACE DEVICE NAMESPACE DEVICE DELAY_MS LOSS_PERCENT

Makes a tap device on each side and carries frames from one to the other, each way alike, until it
is ended. The losses are the same in each run.
"""
import collections
import fcntl
import os
import random
import select
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../e2e")]

import world  # noqa: E402

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 0x0002, 0x1000
QUEUE = 1000  # frames under way each way; more are lost


def tap(space, device):
    world.enter_named(space)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def main():
    a, b = tap(*sys.argv[1:3]), tap(*sys.argv[3:5])
    delay, loss = float(sys.argv[5]) / 1000, float(sys.argv[6]) / 100
    lots = random.Random(1)
    queues = {a: collections.deque(), b: collections.deque()}  # by where they came from
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        for fd, queue in queues.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(b if fd == a else a, queue.popleft()[1])
                except OSError:
                    pass  # the device is down: a frame lost
        due = min((q[0][0] for q in queues.values() if q), default=now + 1)
        for fd in select.select([a, b], [], [], max(due - time.monotonic(), 0))[0]:
            try:
                frame = os.read(fd, 65536)
            except OSError:
                continue
            if lots.random() >= loss and len(queues[fd]) < QUEUE:
                queues[fd].append((time.monotonic() + delay, frame))


if __name__ == "__main__":
    main()
