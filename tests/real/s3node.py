#!/usr/bin/env python3
"""A small S3-like server that tests can kill, stop and cut off: one process, one node of a cluster.

s3node.py --id NAME --listen HOST:PORT [--work SECONDS] [--record FILE] [--ready-file FILE] [--echo]

GET and HEAD return a body that names the target (with --echo: the request head as received). PUT
and POST read the whole body, are executed by appending one line "NAME METHOD X-Test-Id" to FILE,
and are answered --work seconds later: a node that dies in between has executed a request without an
answer. /minio/health/ready answers 200, as MinIO does also with "offline" in a field while it
starts; with --ready-file the start ends when FILE exists. Until then S3 requests get MinIO's 503.
Every answer carries X-Node. Prints READY when it listens.
"""

import argparse
import asyncio
import os
import socket

NOT_READY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>XMinioServerNotInitialized</Code>'
    b"<Message>Server not initialized yet, please try again.</Message></Error>"
)


class Node:
    def __init__(self, options):
        self._options = options
        self._record = os.open(options.record, os.O_WRONLY | os.O_APPEND) if options.record else -1

    def _is_ready(self):
        return not self._options.ready_file or os.path.exists(self._options.ready_file)

    async def serve(self, reader, writer):
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head[:-4].split(b"\r\n")
        method, target, version = request_line.split(b" ", 2)
        fields = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields.setdefault(name.strip().lower(), value.strip())
        if fields.get(b"expect", b"").lower() == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await self._read_body(reader, fields)
        keep_alive = version == b"HTTP/1.1" and fields.get(b"connection", b"").lower() != b"close"
        if target.startswith(b"/minio/health/"):
            extra = b"" if self._is_ready() else b"X-Minio-Server-Status: offline\r\n"
            self._answer(writer, b"200 OK", extra, b"", keep_alive)
        elif not self._is_ready():
            extra = b"Content-Type: application/xml\r\nRetry-After: 60\r\n"
            extra += b"x-minio-error-code: XMinioServerNotInitialized\r\n"
            body = b"" if method == b"HEAD" else NOT_READY
            self._answer(writer, b"503 Service Unavailable", extra, body, keep_alive)
        else:
            await self._execute(writer, method, target, head, fields, keep_alive)
        await writer.drain()
        return keep_alive

    @staticmethod
    async def _read_body(reader, fields):
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                await reader.readexactly(size + 2)
                if size == 0:
                    return
        left = int(fields.get(b"content-length", b"0"))
        while left:
            left -= len(await reader.readexactly(min(left, 1 << 16)))

    async def _execute(self, writer, method, target, head, fields, keep_alive):
        if method in (b"PUT", b"POST"):
            if self._record >= 0:
                line = b" ".join(
                    [self._options.id.encode(), method, fields.get(b"x-test-id", b"-")]
                )
                os.write(self._record, line + b"\n")  # one write, so lines of nodes never mix
        if self._options.echo:
            body = head
        elif method in (b"PUT", b"POST"):
            body = b""
        else:
            body = b"object " + target + b" " + b"." * 2000
        if self._options.work:
            await asyncio.sleep(self._options.work)
        self._answer(writer, b"200 OK", b"", body, keep_alive, send_body=method != b"HEAD")

    def _answer(self, writer, status, extra, body, keep_alive, send_body=True):
        writer.write(
            b"HTTP/1.1 %s\r\nServer: MinIO\r\nX-Node: %s\r\nContent-Length: %d\r\n%s%s\r\n%s"
            % (
                status,
                self._options.id.encode(),
                len(body),
                extra,
                b"" if keep_alive else b"Connection: close\r\n",
                body if send_body else b"",
            )
        )


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--id", required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--work", type=float, default=0.0)
    parser.add_argument("--record", default="")
    parser.add_argument("--ready-file", default="")
    parser.add_argument("--echo", action="store_true")
    options = parser.parse_args()
    host, port = options.listen.rsplit(":", 1)
    listener = socket.create_server((host, int(port)), backlog=1024)
    server = await asyncio.start_server(Node(options).serve, sock=listener, limit=1 << 20)
    print("READY", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
