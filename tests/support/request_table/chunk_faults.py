"""Faulty chunked coding."""

from support.request_table.rows import chunked, refuse


def chunk_faults():
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    for body in (
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"0X3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"\"3\"\r\nabc\r\n0\r\n\r\n",
        b"3h\r\nabc\r\n0\r\n\r\n",
        b"g\r\nabc\r\n0\r\n\r\n",
        b"3.0\r\nabc\r\n0\r\n\r\n",
        b"3,\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"\t3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\t\r\nabc\r\n0\r\n\r\n",
        b"3 ;a\r\nabc\r\n0\r\n\r\n",
        b"3\x0b\r\nabc\r\n0\r\n\r\n",
        b"3\x00\r\nabc\r\n0\r\n\r\n",
        b"3\xa0\r\nabc\r\n0\r\n\r\n",
        b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n",
        b";a\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"\r\n3\r\nabc\r\n0\r\n\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffd\r\nabc\r\n0\r\n\r\n",
        b"8000000000000003\r\nabc\r\n0\r\n\r\n",
        b"100000003100000003\r\nabc\r\n0\r\n\r\n",
        b"0000000000000000000003\r\nabc\r\n0\r\n\r\n",
        # Line ends: LF, CR, and bytes between or after the two.
        b"3\nabc\r\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
        b"3\r\r\nabc\r\n0\r\n\r\n",
        b"3\n\nabc\r\n0\r\n\r\n",
        b"3\rX\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r0\r\n\r\n",
        b"3\r\nabc\n\r0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabc\rX0\r\n\r\n",
        b"3\r\nabc\r\n0\n\r\n",
        b"3\r\nabc\r\n0\r\n\n",
        b"3\r\nabc\r\n0\n\n",
        b"3\r\nabc\r\n0\r\r\n",
        b"3\r\nabc\r\n0\r\n\r\r\n",
        b"3\r\nabc\r\n0\r\n\rX",
        # Data longer or shorter than the size.
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcde\r\n0\r\n\r\n",
        b"5\r\nabc\r\n0\r\n\r\n",
        b"3\r\n\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n\r\n0\r\n\r\n",
        # Extensions that end where another reader continues: LF, CR, NUL, quotes.
        b"3;\nabc\r\n0\r\n\r\n",
        b"3;a\nabc\r\n0\r\n\r\n",
        b"3;a\n\r\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3;a\r\r\nabc\r\n0\r\n\r\n",
        b"3;a=\"\n\"\r\nabc\r\n0\r\n\r\n",
        b"3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n",
        b"3;a=\"\\\n\"\r\nabc\r\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"3;\x0b\r\nabc\r\n0\r\n\r\n",
        b"3;\x7f\r\nabc\r\n0\r\n\r\n",
        b"2;\nxx\r\n%x\r\n0\r\n\r\n%s" % (len(hidden), hidden),
        b"0;\n\r\n" + hidden,
        b"0\r\n;\n\r\n" + hidden,
        b"0;a\n" + hidden,
        # Invalid last chunks.
        b"-0\r\n\r\n",
        b"+0\r\n\r\n",
        b"0x0\r\n\r\n",
        b"0 \r\n\r\n",
        b"00000000000000000000\r\n\r\n",
        b"3\r\nabc\r\n\r\n",
        b"3\r\nabc\r\n0\r\n" + hidden[:-2] + b"\x00\r\n",
        # Trailers.
        b"0\r\nX y\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n: y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\nX: y\n\n",
        b"0\r\nX: y\rz\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\nX\x00: y\r\n\r\n",
        b"0\r\n\x0b: y\r\n\r\n",
        b"0\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hidden HTTP/1.1\r\n\r\n",
    ):
        yield refuse(f"chunks {body[:60]!r}", chunked(body))
    long = b"3;" + b"x" * 100000 + b"\r\nabc\r\n0\r\n\r\n"
    yield refuse("an endless extension", chunked(long), at_once=False)
    yield refuse("an endless size", chunked(b"0" * 100000), at_once=False)
    long = b"0\r\n" + b"X: y\r\n" * 20000 + b"\r\n"
    yield refuse("an endless trailer section", chunked(long), at_once=False)
    long = b"0\r\nX: " + b"y" * 100000 + b"\r\n\r\n"
    yield refuse("an endless trailer", chunked(long), at_once=False)
