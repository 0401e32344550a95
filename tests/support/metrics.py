"""What `/metrics` says: {(name, ((label, value), …)): number}."""

import re

from support import admin
from support.ctl import exchange, socket_of

LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


def parse(text):
    series = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            key = name, tuple(sorted(LABEL.findall(labels or "")))
            assert key not in series, line
            series[key] = float(value)
    return series


def body_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer[:300]
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    return body.decode()


def scrape_text(daemon, target="/metrics"):
    """At the command socket."""
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"
    return body_of(exchange(socket_of(daemon), head.encode()))


def scrape_text_at(address, target="/metrics"):
    head = f"GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n"
    return body_of(admin.send(address, head.encode()))


class Metrics:
    def __init__(self, text):
        self.text = text
        self.series = parse(text)
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))

    def sum(self, name, **labels):
        """Of all series with these labels; 0 where there is none."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, have), value in self.series.items()
            if found == name and wanted <= set(have)
        )

    def counters(self):
        """All that must not fall."""
        return {
            key: value
            for key, value in self.series.items()
            if self.types.get(key[0]) == "counter"
            or re.sub(r"_(bucket|sum|count)$", "", key[0]) in self.types
            and self.types.get(key[0]) is None
        }


def scrape(daemon):
    return Metrics(scrape_text(daemon))


def fallen(before, after):
    """Counters that fell, or whose series are gone."""
    now = after.counters()
    return {
        key: (value, now.get(key))
        for key, value in before.counters().items()
        if now.get(key, -1) < value
    }
