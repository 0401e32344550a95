"""Targets in each of their forms."""

from support.request_table.rows import forward, raw, refuse


def targets():
    for target in (
        b"/",
        b"//",
        b"//a//b//",
        b"/../x",
        b"/a/./b/../c",
        b"/%00",
        b"/%0d%0aX:%20y",
        b"/%2f%2F%2e%2E",
        b"/%",
        b"/%zz%1",
        b"/a|b{c}d\"e<f>g\\h^i`j",
        b"/a;b=c,d@e:f!$&'()*+~",
        b"/\xc3\xa4\xff\x80",
        b"/?",
        b"/??a=?b",
        b"/t?a=1&a=2&A=%20+&=&&b",
        b"/t?x=http://b/",
        b"//b/t",
        b"/http://b/",
        b"/@b",
        b"/t?[::1]",
        b"/b/k?X-Amz-Signature=0&uploadId=2~x&partNumber=1",
        b"/%E0%A4%A",
        b"/+%2B%20",
    ):
        yield forward(f"target {target!r}", b"GET " + target + b" HTTP/1.1")
    yield forward("a target of 32 KiB", b"GET /" + b"x" * 32767 + b" HTTP/1.1")
    yield forward("an argument of 32 KiB", b"GET /t?a=" + b"y" * 32768 + b" HTTP/1.1")
    for target in (
        b"t",
        b"t/u",
        b"?a=b",
        b"a:80",
        b"@a",
        b"\\t",
        b"%2ft",
        b"../t",
        b"*",
        b"*?x",
        b"**",
        b"/*\x00",
        b"/t#f",
        b"#",
        b"/t?a#b",
        b"/t\x01",
        b"/t\x7f",
        b"/t u",
        b"/t\x0bu",
        b"http:/a/t",
        b"http:a/t",
        b"http:///t",
        b"http://",
        b"http://?x",
        b"://a/t",
        b"//a:80:90/ HTTP/1.1 x",
        b"ftp://a/t",
        b"ws://a/t",
        b"file:///etc/passwd",
        b"http://b/t",
        b"http://a.b/t",
        b"http://a.:80/t",
        b"http://a:81/t",
        b"http://a:080/t",
        b"http://a:443/t",
        b"https://a:80/t",
        b"http://a:80:80/t",
        b"http://a:x/t",
        b"http://u@a/t",
        b"http://u:p@a/t",
        b"http://a@b/t",
        b"http://a\\b/t",
        b"http://a%2f/t",
        b"http://[::1]/t",
        b"http://a,a/t",
        b"http://a#/t",
        b"http://a;/t",
    ):
        yield refuse(f"target {target!r}", raw(b"GET " + target + b" HTTP/1.1"))
    yield refuse("asterisk for PUT", raw(b"PUT * HTTP/1.1", b"Content-Length: 3", body=b"abc"))
    yield refuse("asterisk with more", raw(b"OPTIONS *x HTTP/1.1"))
    yield refuse("OPTIONS without slash", raw(b"OPTIONS t HTTP/1.1"))
    yield refuse("absolute without Host", raw(b"GET http://a/t HTTP/1.1", host=None))
    yield refuse("absolute without Host on 1.0", raw(b"GET http://a/t HTTP/1.0", host=None))
    for target, host, sent in (
        (b"http://a/t", b"a", b"/t"),
        (b"http://a", b"a", b"/"),
        (b"http://a/", b"a", b"/"),
        (b"http://a?q", b"a", b"/?q"),
        (b"http://a/?q=/../", b"a", b"/?q=/../"),
        (b"http://a//t", b"a", b"//t"),
        (b"http://a/http://b/", b"a", b"/http://b/"),
        (b"HTTP://a/t", b"a", b"/t"),
        (b"hTtP://A/T", b"a", b"/T"),
        (b"http://a/t", b"A", b"/t"),
        (b"http://a:80/t", b"a", b"/t"),
        (b"http://a/t", b"a:80", b"/t"),
        (b"http://a:/t", b"a", b"/t"),
        (b"http://a/t", b"a:", b"/t"),
        (b"http://A:80", b"a:", b"/"),
        (b"https://a/t", b"a:443", b"/t"),
        (b"https://a:443/t", b"a", b"/t"),
        (b"http://a:9000/t", b"a:9000", b"/t"),
        (b"http://a:9000/t", b"A:9000", b"/t"),
        (b"http://[::1]:80/t", b"[::1]", b"/t"),
        (b"http://[::1]:9000/t", b"[::1]:9000", b"/t"),
        (b"http://127.0.0.1:9000/t", b"127.0.0.1:9000", b"/t"),
        (b"http://a_b.c-d/t", b"a_b.c-d", b"/t"),
    ):
        yield forward(
            f"absolute {target!r} to {host!r}",
            b"GET " + target + b" HTTP/1.1",
            host=host,
            target=sent,
        )
    yield forward("asterisk", b"OPTIONS * HTTP/1.1")
    yield forward("OPTIONS of an authority", b"OPTIONS http://a HTTP/1.1", target=b"*")
    yield forward("OPTIONS of a default port", b"OPTIONS http://a:80 HTTP/1.1", target=b"*")
    yield forward("OPTIONS of a root", b"OPTIONS http://a/ HTTP/1.1", target=b"/")
    yield forward("OPTIONS of a query", b"OPTIONS http://a?x HTTP/1.1", target=b"/?x")
    yield forward(
        "preflight",
        b"OPTIONS /b/k HTTP/1.1",
        b"Origin: https://c",
        b"Access-Control-Request-Method: PUT",
    )
