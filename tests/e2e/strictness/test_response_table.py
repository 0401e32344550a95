"""Every answer of a long table is relayed exactly or visibly broken, and the next client gets its
own answer.

Otherwise a backend that sends something else than announced leaves bytes that become another
client's answer, or a client takes half an object for a whole one.
"""

import pytest
from support import response_table as table
from support.config import make_config, make_site
from support.daemon import Daemon
from support.strict import Answer, Dialogue, Problem, RecordingBackend
from support.waiting import wait_until

CASES = {group.__name__: list(group()) for group in table.GROUPS}


def test_the_table_is_long_enough_and_its_names_are_unique():
    names = [row.name for rows in CASES.values() for row in rows]
    assert len(names) >= 80
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


class Stage:
    def __init__(self):
        self.row = None  # the answer to a request for /row
        self.backend = RecordingBackend(self.answer)
        site = make_site([self.backend], passive="off")
        # One worker has one pool, so the next request shows the state of the connection.
        self.daemon = Daemon(make_config([site], workers=1))
        self.checks = 0

    def answer(self, message):
        if message.target != "/row":
            return None
        return Answer(self.row.pieces or self.row.data, self.row.then)

    def check(self, row):
        self.row = row
        with Dialogue(self.daemon.address) as client:
            lines = [row.method + b" /row " + row.version, b"Host: a", *row.fields]
            client.send(b"\r\n".join(lines) + b"\r\n\r\n")
            parser = client.responses([row.method])
            number = self.backend.messages[-1].connection
            if isinstance(row.want, table.Relay):
                self.check_relayed(row, parser, client)
            else:
                self.check_broken(row, parser, client)
            if not row.reuse:
                # The daemon must close by itself; only then can no later byte reach another
                # request.
                wait_until(
                    lambda: number not in self.backend.open, what="the connection is dropped"
                )
            kept = bool(parser.messages) and not parser.messages[0].closes
            self.check_next(row, number, client if kept else None)

    @staticmethod
    def check_relayed(row, parser, client):
        want = row.want
        assert parser.messages, f"{client.ended}, {bytes(client.raw[:200])!r}"
        message = parser.messages[0]
        assert message.status == want.status, message
        assert message.data == want.body
        assert message.trailers == want.trailers
        assert tuple(found.status for found in parser.interim) == want.interim
        if want.reason is not None:
            assert message.reason == want.reason, message
        if want.framing:
            assert message.framing == want.framing, message
        if want.fields is not None:
            own = (b"connection", b"transfer-encoding")
            assert [pair for pair in message.fields if pair[0].lower() not in own] == want.fields
        for name in want.absent:
            assert message.values(name) == [], message
        assert not parser.is_inside, "bytes behind the message"

    @staticmethod
    def check_broken(row, parser, client):
        if parser.messages:
            message = parser.messages[0]
            assert message.status == 502, f"a clean end: {message}"
            assert row.method == b"HEAD" or b"<Code>InternalError</Code>" in message.data
            return
        assert not row.want.must_502, f"no 502: {client.ended} {bytes(client.raw[:200])!r}"
        assert client.raw, "nothing was sent, so a 502 was possible"
        assert client.ended in ("eof", "reset")
        if parser.message and parser.message.framing == "close":
            assert client.ended == "reset", "only a reset tells this from the end"
        assert parser.is_inside, "looks complete"

    def check_next(self, row, number, client):
        """Another client sends a request, and so does this one if its connection is kept: each gets
        its own answer, over a connection that may be used."""
        connections = []
        for again in [client, None] if client else [None]:
            self.checks += 1
            target = b"/check-%d" % self.checks
            with again or Dialogue(self.daemon.address) as asker:
                assert not asker.receive(0), f"bytes nobody asked for: {bytes(asker.raw[-99:])!r}"
                del asker.raw[:]
                asker.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                parser = asker.responses([b"GET"])
                assert parser.messages, f"no answer to the next request: {asker.ended}"
                body = parser.messages[0].data
                assert body.endswith(b" GET " + target), body
                connections.append(int(body.split()[0]))
        if row.reuse:
            assert connections[0] == number, "the connection was good and is not used again"
        else:
            assert number not in connections, "a connection that cannot be trusted is used again"


@pytest.fixture(name="stage", scope="module")
def stage_fixture():
    stage = Stage()
    yield stage
    stage.daemon.finish()
    stage.backend.stop()
    assert stage.backend.problems == []


def run(stage, rows):
    failures = []
    for row in rows:
        try:
            stage.check(row)
        except (AssertionError, Problem, OSError) as error:
            failures.append(f"{row.name}: {error}")
            if len(failures) > 8:
                break
    assert not failures, f"{len(failures)} rows:\n" + "\n".join(failures)


@pytest.mark.parametrize("group", CASES)
def test_table(stage, group):
    run(stage, CASES[group])


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("sample", table.SAMPLES)
def test_early_end_at_every_offset(stage, sample, then, version):
    data = table.SAMPLES[sample]
    end_of_head = data.index(b"\r\n\r\n") + 4

    def rows():
        for at in range(len(data)):
            if sample == "close" and then == "close" and at >= end_of_head:
                want = table.Relay(body=data[end_of_head:at])
            else:
                want = table.Broken(must_502=at < end_of_head)
            yield table.Row(f"end at {at}", data[:at], want, then, version=version)

    run(stage, rows())


@pytest.mark.parametrize("sample", table.SAMPLES)
def test_every_split(stage, sample):
    data = table.SAMPLES[sample]
    trailers = [(b"X-T", b"y")] if sample == "chunked" else []
    want = table.Relay(body=b"hello world", trailers=trailers)
    then = "close" if sample == "close" else "keep"

    def rows():
        for at in range(1, len(data)):
            pieces = (data[:at], data[at:])
            yield table.Row(f"cut at {at}", b"", want, then, sample != "close", pieces=pieces)
        single = tuple(data[at : at + 1] for at in range(len(data)))
        yield table.Row("single bytes", b"", want, then, sample != "close", pieces=single)

    run(stage, rows())


def test_bytes_on_a_parked_connection(stage):
    """Bytes on a silent connection reach no client, and the connection is not used again."""
    for junk in (table.EVIL, b"H", b"\r\n", b"\0", table.EVIL * 100):
        stage.row = table.Row("good", table.GOOD, table.Relay())
        with Dialogue(stage.daemon.address) as client:
            client.send(b"GET /row HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.responses([b"GET"]).messages[0].data == b"hello"
            number = stage.backend.messages[-1].connection
            stage.backend.open[number].sendall(junk)
            wait_until(lambda: number not in stage.backend.open, what="the connection is dropped")
            stage.check_next(table.Row("next", b"", None), number, client)
