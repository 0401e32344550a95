"""Every request of a long table is either refused, with no byte of it upstream, or arrives as
exactly the intended message.

Otherwise s3gate and a backend (or two backends) may read the same bytes as different requests:
request smuggling. The judge is a backend with its own reader that records every byte. Each row is
sent in one piece, then byte by byte, then split at the places where readers resume.
"""

import re

import pytest
from support import request_table as table
from support.config import make_config, make_site
from support.daemon import Daemon
from support.strict import Dialogue, Problem, RecordingBackend, pause
from support.waiting import wait_until

CASES = {group.__name__: list(group()) for group in table.GROUPS}
# Served only if the daemon takes it for a separate request, which it must do exactly where
# expected.
NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
# Byte by byte only up to this length: each byte costs a system call and a wake-up.
BYTEWISE = 600


def test_the_table_is_long_enough_and_its_names_are_unique():
    names = [case.name for cases in CASES.values() for case in cases]
    assert len(names) >= 250
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


class Stage:
    """One daemon, one backend, and the records of what had arrived when a row began."""

    def __init__(self, daemon, backend):
        self.daemon = daemon
        self.backend = backend

    @staticmethod
    def deliver(client, pieces):
        """Sends the pieces, with pauses if they are few, and NEXT after the last one."""
        *first, last = pieces
        for piece in first:
            if not client.send(piece):
                return
            if len(pieces) < 5:
                pause()
        client.send(last + NEXT)

    def exchange(self, case, pieces, methods):
        """Sends the row and NEXT; returns (parser of the answers, end of the connection)."""
        with Dialogue(self.daemon.address) as client:
            self.deliver(client, pieces)
            if methods is None:
                return client.responses([b"GET"], until_end=True), client
            parser = client.responses(methods)
            while case.want.closes and client.receive():
                pass
            return parser, client

    def check(self, case, pieces, whole):
        """Runs one row in one delivery and judges it."""
        received, accepted = self.backend.received, len(self.backend.messages)
        if isinstance(case.want, table.Forward):
            self.check_forward(case, pieces, accepted)
        elif isinstance(case.want, table.ThenRefuse):
            self.check_then_refuse(case, pieces, accepted)
        else:
            self.check_refuse(case, pieces, received, accepted, whole)

    def check_refuse(self, case, pieces, received, accepted, whole):
        parser, client = self.exchange(case, pieces, None)
        assert parser.messages, f"no answer, {client.ended}, {bytes(client.raw[:100])!r}"
        self.check_refusal(case, parser, client, case.data[:5] == b"HEAD ")
        has_faulty_body = b"\r\ntransfer-encoding: chunked\r\n" in case.data[:200].lower()
        if whole or not has_faulty_body:
            assert self.backend.received == received, "bytes of a refused request went upstream"
        assert len(self.backend.messages) == accepted, "a refused request was served"

    def check_refusal(self, case, parser, client, to_head):
        answer = parser.messages[-1]
        assert answer.status in case.want.statuses, answer
        assert answer.closes, answer
        assert answer.values(b"content-type") == [b"application/xml"], answer
        assert answer.framing == "length" or to_head, answer
        assert re.fullmatch(rb"[0-9A-F]{16}", answer.values(b"x-amz-request-id")[0]), answer
        assert to_head or b"<Error><Code>" in answer.data, answer
        assert not parser.is_inside, "bytes behind the answer"
        assert client.ended == "eof", "the answer must arrive, then FIN"

    def check_forward(self, case, pieces, accepted):
        expected = list(case.want.messages)
        methods = [message.method for message in expected]
        follow = [] if case.want.closes else [table.expected_of(NEXT[:19], [], b"next", b"")]
        parser, client = self.exchange(case, pieces, methods + [b"GET"] * len(follow))
        statuses = [answer.status for answer in parser.messages]
        assert statuses == [200] * len(expected + follow), parser.messages
        self.check_messages(expected + follow, accepted)
        for answer, message in zip(parser.messages, expected + follow):
            # Each request gets its own answer.
            if message.method != b"HEAD":
                words = b" %s %s" % (message.method, message.target)
                assert answer.data.endswith(words), (answer, answer.data)
        if case.want.closes:
            assert parser.messages[-1].closes
            assert not parser.is_inside
            # After an announced close the socket may be gone before later pieces; the piece with
            # the request is always read.
            begin_of_last = len(case.data) - len(pieces[-1])
            too_late = case.served is not None and begin_of_last >= case.served
            assert client.ended in (("eof", "reset") if too_late else ("eof",))
            assert client.raw.count(b"HTTP/1.1 2") == len(expected), "served behind the end"

    def check_then_refuse(self, case, pieces, accepted):
        expected = case.want.messages
        with Dialogue(self.daemon.address) as client:
            self.deliver(client, pieces)
            methods = [message.method for message in expected] + [b"GET"]
            parser = client.responses(methods, until_end=True)
            statuses = [answer.status for answer in parser.messages]
            assert statuses == [200] * len(expected) + [400], parser.messages
            self.check_refusal(case, parser, client, False)
        self.check_messages(expected, accepted)

    def check_messages(self, expected, accepted):
        seen = self.backend.messages[accepted:]
        assert [m.target.encode("latin-1") for m in seen] == [m.target for m in expected]
        for message, want in zip(seen, expected):
            own = (b"x-forwarded-for", b"x-real-ip", b"x-forwarded-proto")
            fields = [pair for pair in message.fields if pair[0].lower() not in own]
            address = self.daemon.address.encode()
            wanted = [(name, value.replace(b"{address}", address)) for name, value in want.fields]
            assert sorted(fields) == sorted(wanted)
            ordered = [pair for pair in wanted if pair in fields]
            kept = [p for p in fields if p[0] not in (b"Host", b"Transfer-Encoding")]
            assert kept == [p for p in ordered if p[0] not in (b"Host", b"Transfer-Encoding")]
            assert message.method.encode() == want.method
            assert message.data == want.body
            assert message.trailers == want.trailers
            for name, value in zip(own, (b"127.0.0.1", b"127.0.0.1", b"http")):
                assert message.values(name) == [value], message


def cuts_of(case):
    """Places where a reader resumes: in and after the request line, in the middle of CRLF CRLF, at
    the body and inside it, before the last byte."""
    data = case.data
    if len(data) > 4000:
        return [len(data) // 2]
    end = data.find(b"\r\n\r\n")
    places = {1, data.find(b"\r\n") + 1, data.find(b"\r\n") + 2, len(data) - 1, *case.cuts}
    if end >= 0:
        places |= {end + 1, end + 2, end + 3, end + 4, end + 5, end + 6}
    return sorted(place for place in places if 0 < place < len(data))


@pytest.fixture(name="stage", scope="module")
def stage_fixture(module_gate):
    backend = RecordingBackend()
    daemon = module_gate(backend)
    yield Stage(daemon, backend)
    backend.stop()
    assert backend.problems == []


@pytest.fixture(name="module_gate", scope="module")
def module_gate_fixture():
    """One daemon for the whole file."""
    made = []

    def run(backend):
        site = make_site([backend], passive="off", limits={"head": "128KiB"})
        made.append(Daemon(make_config([site])))
        return made[-1]

    yield run
    for daemon in made:
        daemon.finish(failed=False)


def run(stage, cases, deliveries):
    failures = []
    for case in cases:
        for name, pieces, whole in deliveries(case):
            try:
                stage.check(case, pieces, whole)
            except (AssertionError, Problem, OSError) as error:
                failures.append(f"{case.name} [{name}]: {error}")
                break
            if stage.backend.problems:
                failures.append(f"{case.name} [{name}]: {stage.backend.problems}")
                stage.backend.problems.clear()
                break
    assert not failures, f"{len(failures)} rows:\n" + "\n".join(failures)


@pytest.mark.parametrize("group", CASES)
def test_in_one_piece(stage, group):
    run(stage, CASES[group], lambda case: [("whole", [case.data], case.at_once)])


@pytest.mark.parametrize("group", CASES)
def test_byte_at_a_time(stage, group):
    def deliveries(case):
        if len(case.data) <= BYTEWISE:
            pieces = [case.data[at : at + 1] for at in range(len(case.data))]
            yield "bytes", pieces, False

    run(stage, CASES[group], deliveries)


@pytest.mark.parametrize("group", CASES)
def test_split(stage, group):
    def deliveries(case):
        for cut in cuts_of(case):
            yield f"cut at {cut}", [case.data[:cut], case.data[cut:]], False

    run(stage, CASES[group], deliveries)


WHOLE = (
    table.forward(
        "length", b"PUT /t HTTP/1.1", b"Content-Length: 11", b"X-A: b", body=b"hello world"
    ),
    table.forward(
        "chunked",
        b"PUT /t HTTP/1.1",
        b"Transfer-Encoding: chunked",
        body=b"hello world",
        sent=b"6;x\r\nhello \r\n5\r\nworld\r\n0\r\nX-T: y\r\n\r\n",
        trailers=[(b"X-T", b"y")],
    ),
    table.refuse("refused", table.put(b"Content-Length: 3", b"Content-Length : 3")),
)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_every_split(stage, case):
    def deliveries(_):
        for cut in range(1, len(case.data)):
            yield f"cut at {cut}", [case.data[:cut], case.data[cut:]], False

    run(stage, [case], deliveries)


def test_nothing_arrived_late(stage):
    """At the end every connection is idle and no further byte comes."""
    seen = len(stage.backend.messages), stage.backend.received
    with Dialogue(stage.daemon.address) as client:
        client.send(NEXT)
        assert client.responses([b"GET"]).messages[0].status == 200
    wait_until(lambda: len(stage.backend.messages) == seen[0] + 1)
    assert [m.target for m in stage.backend.messages if m.target == "/hidden"] == []
