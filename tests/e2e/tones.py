"""Known tones: written as WAV, sought in recordings by Goertzel's algorithm."""
import math
import struct
import wave

from rig import Failure, wait


def write(path, hertz, seconds=60, rate=8000):
    with wave.open(str(path), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(rate)
        step = 2 * math.pi * hertz / rate
        w.writeframes(b"".join(struct.pack("<h", round(9000 * math.sin(step * i)))
                               for i in range(seconds * rate)))
    return path


def samples(path, last_seconds=3):
    """(rate, first channel) of the end of a recording, also of one still being written: then the
    sizes in its head are 0 (sndfile), or the whole head is (linphone: one channel, 8 kHz)."""
    raw = path.read_bytes()
    rate, channels, body = 8000, 1, raw[44:]
    at = raw.find(b"fmt ", 0, 64)
    data = raw.find(b"data", at, 128) if at >= 0 else -1
    if data >= 0:
        channels, rate = struct.unpack_from("<HI", raw, at + 10)
        body = raw[data + 8:]
    body = body[:len(body) // (2 * channels) * 2 * channels]
    body = body[-last_seconds * rate * 2 * channels:]
    return rate, [s[0] for s in struct.iter_unpack("<" + "h" * channels, body)]


def power(part, rate, hertz):
    """Share of the energy at one frequency: 1.0 is a pure tone."""
    k = 2 * math.cos(2 * math.pi * hertz / rate)
    a = b = 0.0
    total = 0.0
    for x in part:
        a, b = x + k * a - b, a
        total += x * x
    if total < len(part) * 100:  # silence
        return 0.0
    return 2 * (a * a + b * b - k * a * b) / (len(part) * total)


def share(path, hertz, seconds=0.5):
    """The share of the tone in the last stretch of a recording that is long enough; else 0."""
    rate, all_samples = samples(path)
    n = int(rate * seconds)
    # Phones differ by a few hertz from the nominal tone (resampling), so look beside it too.
    best = 0.0
    for end in range(len(all_samples), n - 1, -n // 2)[:4] if len(all_samples) >= n else []:
        part = all_samples[end - n:end]
        best = max([best] + [power(part, rate, hertz + d) for d in (-3, -2, -1, 0, 1, 2, 3)])
    return best


def heard(phone_recordings, hertz, not_hertz=None, seconds=10):
    """Waits until the newest recording carries the tone clearly, and not the other one."""
    def clear():
        files = phone_recordings()
        return bool(files) and files[-1].stat().st_size > 12000 and share(files[-1], hertz) > 0.6

    def tell():
        files = phone_recordings()
        if not files:
            return f"{hertz} Hz; there is no recording"
        return (f"{hertz} Hz in {files[-1].name}: share {share(files[-1], hertz):.2f}, "
                f"{files[-1].stat().st_size} bytes")

    wait(clear, seconds, tell)
    if not_hertz and share(phone_recordings()[-1], not_hertz) > 0.1:
        raise Failure(f"{not_hertz} Hz is heard where {hertz} Hz should be alone")


def grown(phone_recordings, by):
    """A condition: the newest recording is so many bytes longer than now."""
    before = phone_recordings()[-1].stat().st_size
    return lambda: phone_recordings()[-1].stat().st_size > before + by
