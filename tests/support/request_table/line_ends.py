"""Valid and invalid ends of lines."""

from support.request_table.rows import CRLF, chunked, forward, get, put, refuse


def line_ends():
    yield refuse("LF only", b"GET /t HTTP/1.1\nHost: a\n\n")
    yield refuse("LF behind the request line", b"GET /t HTTP/1.1\nHost: a\r\n\r\n")
    yield refuse("LF behind a field", b"GET /t HTTP/1.1\r\nHost: a\nX: y\r\n\r\n")
    yield refuse("LF as empty line", b"GET /t HTTP/1.1\r\nHost: a\r\n\n")
    yield refuse("LF LF CR", b"GET /t HTTP/1.1\r\nHost: a\n\n\r")
    yield refuse("LF CR", b"GET /t HTTP/1.1\n\rHost: a\n\r\n\r")
    yield refuse("CR only", b"GET /t HTTP/1.1\rHost: a\r\r\n")
    yield refuse("CR CR LF", b"GET /t HTTP/1.1\r\r\nHost: a\r\n\r\n")
    yield refuse("CR CR LF behind a field", b"GET /t HTTP/1.1\r\nHost: a\r\r\n\r\n")
    yield refuse("CR CR LF as empty line", b"GET /t HTTP/1.1\r\nHost: a\r\n\r\r\n")
    yield refuse("CR in a value", get(b"X: a\rb"))
    yield refuse("CR begins a value", get(b"X:\ra"))
    yield refuse("CR hides a length", put(b"X: a\rContent-Length: 3"))
    yield refuse(
        "LF hides a coding", put(b"X: a\nTransfer-Encoding: chunked", b"Content-Length: 3")
    )
    yield refuse("CR in a name", get(b"X\rY: a"))
    yield refuse("CR before the colon", put(b"Content-Length\r: 3"))
    yield refuse("CR in the target", b"GET /t\rx HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refuse("CR in the method", b"G\rET /t HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refuse("CR first", b"\rGET /t HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refuse("LF first", b"\nGET /t HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refuse("NEL as line end", get(b"X: a\x85\r\n\x85Y: b"))
    yield refuse("vertical tab as line end", get(b"X: a\x0bContent-Length: 3"))
    yield refuse("form feed as line end", get(b"X: a\x0cContent-Length: 3"))
    yield refuse("line of spaces", get(b"  "))
    yield refuse("many empty lines", CRLF * 20 + get())
    yield refuse("empty line with a space", b" \r\n" + get())
    yield forward("one empty line first", before=CRLF)
    yield forward("two empty lines first", before=CRLF * 2)
