"""Reads back the QR code that `kith invite` prints on a terminal: what a camera would see (ISO/IEC 18004, versions 1
to 5, error level L, one string of bytes). It corrects nothing: a screen has no dirt."""
import re

from rig import Failure

MASKS = (lambda x, y: (x + y) % 2, lambda x, y: y % 2, lambda x, y: x % 3, lambda x, y: (x + y) % 3,
         lambda x, y: (x // 3 + y // 2) % 2, lambda x, y: x * y % 2 + x * y % 3,
         lambda x, y: (x * y % 2 + x * y % 3) % 2, lambda x, y: ((x + y) % 2 + x * y % 3) % 2)


def modules(printed):
    """Rows of dark (1) and light (0), the margin taken off. Half blocks: two rows a line."""
    rows = []
    for line in re.findall(r"\033\[30;107m(.*?)\033\[0m", printed):
        rows.append([c in "\u2588\u2580" for c in line])
        rows.append([c in "\u2588\u2584" for c in line])
    dark = [(x, y) for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark]
    if not dark:
        raise Failure(f"no QR code in {printed[:200]!r}")
    left, top = min(x for x, _ in dark), min(y for _, y in dark)
    size = max(x for x, _ in dark) - left + 1
    if left < 2 or top < 2 or len(rows[0]) - left - size < 2 or len(rows) - top - size < 2:
        raise Failure("less than two modules of margin")
    return [[int(v) for v in row[left:left + size]] for row in rows[top:top + size]]


def read(printed):
    """The text of the code."""
    at = modules(printed)
    size, version = len(at), (len(at) - 17) // 4
    if size != 17 + 4 * version or not 1 <= version <= 5:
        raise Failure(f"a code of {size} modules")
    eye = [[int(max(abs(x - 3), abs(y - 3)) != 2) for x in range(7)] for y in range(7)]
    for left, top in ((0, 0), (size - 7, 0), (0, size - 7)):
        if [row[left:left + 7] for row in at[top:top + 7]] != eye:
            raise Failure("a corner is not one")
    # What the format says is masked so that it is never all light (7.9).
    level_and_mask = sum(at[8][x] << (4 - x) for x in range(5)) ^ 0b10101
    mask = MASKS[level_and_mask & 7]
    if level_and_mask >> 3 != 1:
        raise Failure("another error level than L")

    def is_fixed(x, y):
        corner = (x < 9 and y < 9) or (x >= size - 8 and y < 9) or (x < 9 and y >= size - 8)
        aligned = version > 1 and abs(x - size + 7) < 3 and abs(y - size + 7) < 3
        return corner or aligned or 6 in (x, y)

    bits, up = [], True
    for right in [x for x in range(size - 1, 6, -2)] + [5, 3, 1]:
        for y in range(size - 1, -1, -1) if up else range(size):
            bits += [at[y][x] ^ (not mask(x, y)) for x in (right, right - 1) if not is_fixed(x, y)]
        up = not up
    number = int("".join(map(str, bits)), 2)

    def take(begin, count):
        return number >> (len(bits) - begin - count) & ((1 << count) - 1)

    if take(0, 4) != 4:
        raise Failure("not a string of bytes")
    return bytes(take(12 + 8 * i, 8) for i in range(take(4, 8))).decode()
