#!/usr/bin/python3
"""Seeds that mutation alone finds only in hours:  make_seeds.py TARGET FOLDER

config_file: each key of the golden configurations with each of many values.
exchange: what the other targets' inputs (tests/fuzz/corpus, build/fuzz/collected) look like as what
a client or a backend says, as scripts of exchange_fuzz.cpp."""

import copy
import hashlib
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LONGEST = 3000  # bytes of a configuration; longer ones run slowly

BASE = """
sites:
  - name: a
    listen: ["127.0.0.1:9000"]
    balance: {salt: pepper}
    backends: {servers: ["n1:9000", "n2:9000"]}
"""
VALUES = [
    *(
        None,
        "",
        0,
        1,
        -1,
        1.5,
        True,
        "x",
        "off",
        "auto",
        "on",
        -0.0,
        float("nan"),
        2**63,
        10**20,
    ),
    *("5s", "10ms", "99999h", "1KiB", "1MiB", "99TiB", "10/s", "0/s", "1e9/s"),
    *("10.0.0.0/8", "::1", "127.0.0.1:9", "[::1]:80", "n{1...3}:9000", "n{3...1}:1", "n1:9000"),
    *("${SET}", "${NO}", "a b", "é", "/x/y", "a" * 300),
    *("cookie:a", "header:h", "query:q", "ketama", "least_conn"),
    *([], ["x"], [1], [[]], [None], {}, {"a": 1}, [{"a": 1}], ["n1:9000"], ["127.0.0.1:9000"]),
    [{"address": "n1:9000", "weight": 2, "backup": True}],
]


def walk(node, path, found):
    """Adds the paths of all keys below `node`; 0 is any element of a list."""
    if len(path) > 6:
        return
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(key, str):
                found.add((*path, key))
                walk(value, (*path, key), found)
    elif isinstance(node, list):
        for value in node[:2]:
            walk(value, (*path, 0), found)


def put(node, path, value):
    """Sets the value at `path`; replaces parents of another kind."""
    for key, following in zip(path, path[1:]):
        kind = list if following == 0 else dict
        if key == 0:
            node[:] = node[:1] or [kind()]
        if key != 0 and key not in node or not isinstance(node[key], kind):
            node[key] = kind()
        node = node[key]
    if path[-1] == 0:
        node[:] = [value]
    else:
        node[path[-1]] = value


def of_config_file():
    of_main, of_site = set(), set()
    files = [*(ROOT / "tests/data/config").rglob("*.yaml"), *(ROOT / "config").rglob("*.yaml")]
    for file in sorted(files):
        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
            continue  # an intended error of this kind
        if not isinstance(document, dict):
            continue
        sites = document.pop("sites", None)
        walk(document, (), of_site if "backends" in document else of_main)
        for site in sites if isinstance(sites, list) else []:
            walk(site, (), of_site)
    for paths, is_site in ((of_main, False), (of_site, True)):
        for path in sorted(paths, key=str):
            for number, value in enumerate(VALUES):
                document = yaml.safe_load(BASE)
                site = document["sites"][0]
                put(site if is_site else document, path, copy.deepcopy(value))
                # Some in a separate file, as a neighbour of exchange's in sites/.
                alone = is_site and number % 4 == 0
                text = yaml.safe_dump(site if alone else document, allow_unicode=True)
                seed = (("#site\n" if alone else "") + text).encode()
                if len(seed) <= LONGEST:
                    yield seed


def inputs_of(target):
    for folder in (HERE / "corpus" / target, ROOT / "build/fuzz/collected" / target):
        for file in sorted(folder.glob("*")):
            yield file.read_bytes()


def of_exchange():
    """Operations as in Play::operation: 5 adds bytes to the client's, 7 delivers, 0 is a request,
    15 an answer of all backends, 21 lets time pass; 0x80 = no turn of the worker."""
    options = [b"\0\0", b"\xff\xff", b"\x01\x00", b"\x00\xfc", b"\x02\x10"]
    answer = bytes([15, 0, 0, 0, 0, 0, 1, 0, 0])
    request = bytes(8)
    head_request = bytes([0, 0, 2, 0, 0, 0, 0, 0])
    end = bytes([21, 11])
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    put_head = b"PUT /b/k HTTP/1.1\r\nHost: h\r\n" + chunked
    ok_head = b"HTTP/1.1 200 OK\r\n" + chunked

    def client_says(text):
        pieces = (text[i : i + 255] for i in range(0, len(text), 255))
        said = b"".join(bytes([0x85, 0, len(piece)]) + piece for piece in pieces)
        return answer + said + bytes([7, 0]) + end

    def backend_says(text, asked):
        return bytes([15, 0, 0, 8, 0, 0, 0, 0, 0, len(text)]) + text + asked + end

    said_by_client = [
        *inputs_of("request_head"),
        *(head + b"\r\n\r\n" for head in inputs_of("request_head")),
        *(put_head + body for body in inputs_of("chunked")),
        *(put_head + b"3\r\nabc\r\n0\r\n" + lines + b"\r\n" for lines in inputs_of("trailers")),
        *(b"GET /b/k?" + query + b" HTTP/1.1\r\nHost: h\r\n\r\n" for query in inputs_of("query")),
    ]
    said_by_backend = [
        *inputs_of("response_head"),
        *(head + b"\r\n\r\n" for head in inputs_of("response_head")),
        *(ok_head + body for body in inputs_of("chunked")),
        *(ok_head + b"2\r\nab\r\n0\r\n" + lines + b"\r\n" for lines in inputs_of("trailers")),
    ]
    for number, text in enumerate(said_by_client):
        if len(text) <= 700:
            yield options[number % len(options)] + client_says(text)
    for number, text in enumerate(said_by_backend):
        if len(text) <= 255:
            # No framing field frames an answer to HEAD.
            for asked in (request, head_request):
                yield options[number % len(options)] + backend_says(text, asked)


def main():
    makers = {"config_file": of_config_file, "exchange": of_exchange}
    if len(sys.argv) != 3 or sys.argv[1] not in makers:
        sys.exit(f"usage: make_seeds.py {'|'.join(makers)} FOLDER")
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in makers[sys.argv[1]]():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main()
