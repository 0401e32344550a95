"""Names and values that look like framing but are not."""

from support.request_table.rows import chunked, forward, get, put, refuse


def lookalikes():
    for name in (
        b"Content_Length",
        b"content_length",
        b"Content.Length",
        b"Content-Length-",
        b"-Content-Length",
        b"Content--Length",
        b"ContentLength",
        b"Content~Length",
        b"Content-Length'",
        b"Content-Length ",
        b"Content-Length\t",
        b" Content-Length",
        b"Content-Length\x0b",
        b"Content-Length\x00",
        b"\x00Content-Length",
        b"Content Length",
        b"Content\x00Length",
        b"Content-Length\xa0",
        b"\xef\xbb\xbfContent-Length",
        b"C\xd0\xbentent-Length",
        b"Content\xe2\x80\x90Length",
        b"\"Content-Length\"",
        b"Content-Length\\",
    ):
        yield refuse(f"name {name!r}", put(name + b": 3"))
    for name in (
        b"Transfer_Encoding",
        b"TRANSFER_ENCODING",
        b"Transfer.Encoding",
        b"Transfer-Encoding_",
        b"Transfer--Encoding",
        b"TransferEncoding",
        b"*Transfer-Encoding",
        b"Transfer-Encoding ",
        b"Transfer-Encoding\t",
        b"\tTransfer-Encoding",
        b"Transfer-Encoding\x0b",
        b"Transfer-Encoding\x1f",
        b"Transfer Encoding",
        b"Transfer-\x00Encoding",
        b"Transfer-Encoding\xc2\xa0",
        b"Tran\xc5\xbffer-Encoding",
        b"Transfer-Encoding;",
        b"[Transfer-Encoding]",
    ):
        yield refuse(f"name {name!r}", put(name + b": chunked", b"Content-Length: 3"))
    yield refuse("Host with a space", b"GET /t HTTP/1.1\r\nHost : a\r\n\r\n")
    yield refuse("second Host with a space", get(b"Host : b"))
    yield refuse("second Host folded in", get(b" Host: b"))
    yield refuse("Host in other case", get(b"hOST: b"))
    # Names that a CGI-like server confuses with the fields that s3gate adds are removed too.
    for name in (b"X_Forwarded_For", b"X_REAL_IP", b"x-forwarded_proto", b"X.Forwarded.For"):
        yield forward(
            f"forged {name!r}",
            b"GET /t HTTP/1.1",
            name + b": 10.0.0.1",
            b"X-Kept_As-Is: 1",
            gone=(name.lower(),),
        )
