"""awscli and rclone copy a tree through s3gate and back; every file must return unchanged.

Otherwise sizes at which a tool changes its method (multipart, ranged parallel download, server-side
listing pages) and names that only a real file system has would be untested.
"""

import hashlib
import os
import pathlib
import random
import subprocess
import uuid

import pytest

import rgw
from support_real import require_program

KIB = 1024
MIB = 1024 * KIB

NAMES = [
    "plain",
    "with space",
    "plus+sign",
    "percent%20",
    "tilde~",
    "ümläut",
    "ключ",
    "键",
    "a&b",
    "semi;colon",
    "quote'",
    "#hash",
    "question?mark",
    "equals=x",
    "at@",
    "comma,",
    "(paren)",
    "[bracket]",
    "emoji🔑",
    ".hidden",
    "dots..x",
    "UPPER",
    "-dash",
    "$dollar",
]


def make_tree(root):
    """A few dozen files of 0 B to 20 MiB; the contents are random, the seed is fixed."""
    dice = random.Random(7)
    sizes = [
        0,
        1,
        100,
        KIB,
        64 * KIB - 1,
        64 * KIB,
        256 * KIB,
        256 * KIB + 1,
        MIB,
        5 * MIB,
        8 * MIB,
        20 * MIB,
    ]
    for number, name in enumerate(NAMES):
        for depth in range(2):
            folder = root / "/".join(NAMES[(number + step) % 5] for step in range(depth + 1))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}-{number}").write_bytes(
                dice.randbytes(sizes[(number * 2 + depth) % len(sizes)])
            )


def fingerprints(root):
    return {
        str(path.relative_to(root)): (
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def run(command, environment):
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (
        done.returncode == 0
    ), f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    make_tree(root)
    return root


def awscli(endpoint, folder):
    """Debian's own awscli: one on PATH may belong to another Python."""
    program = "/usr/bin/aws" if os.access("/usr/bin/aws", os.X_OK) else require_program("aws")
    environment = {
        "AWS_ACCESS_KEY_ID": rgw.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": rgw.SECRET_KEY,
        "AWS_DEFAULT_REGION": "default",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
        "LC_ALL": "C.UTF-8",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
    }
    return lambda *words: run([program, "--endpoint-url", endpoint, "s3", *words], environment)


def rclone(endpoint):
    program = require_program("rclone")
    environment = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_GATE_TYPE": "s3",
        "RCLONE_CONFIG_GATE_PROVIDER": "Ceph",
        "RCLONE_CONFIG_GATE_ACCESS_KEY_ID": rgw.ACCESS_KEY,
        "RCLONE_CONFIG_GATE_SECRET_ACCESS_KEY": rgw.SECRET_KEY,
        "RCLONE_CONFIG_GATE_ENDPOINT": endpoint,
        "RCLONE_CONFIG_GATE_FORCE_PATH_STYLE": "true",
        "LC_ALL": "C.UTF-8",
    }
    # The tool must not retry: faults must show.
    return lambda *words: run(
        [program, "--retries", "1", "--low-level-retries", "1", *words], environment
    )


def test_awscli_tree(gate, tree, tmp_path):
    aws = awscli(gate.url, tmp_path)
    bucket = f"aws-{uuid.uuid4().hex[:12]}"
    aws("mb", f"s3://{bucket}")
    aws("cp", "--recursive", "--only-show-errors", str(tree), f"s3://{bucket}/tree")
    back = tmp_path / "back"
    aws("sync", "--only-show-errors", f"s3://{bucket}/tree", str(back))
    assert fingerprints(back) == fingerprints(tree)
    listed = aws("ls", "--recursive", "--summarize", f"s3://{bucket}/tree/")
    assert f"Total Objects: {len(fingerprints(tree))}" in listed
    aws("rm", "--recursive", "--only-show-errors", f"s3://{bucket}")
    aws("rb", f"s3://{bucket}")


def test_rclone_tree(gate, tree, tmp_path):
    tool = rclone(gate.url)
    bucket = f"rclone-{uuid.uuid4().hex[:12]}"
    tool("mkdir", f"gate:{bucket}")
    tool(
        "copy",
        "--s3-upload-cutoff",
        "5M",
        "--s3-chunk-size",
        "5M",
        "--transfers",
        "8",
        str(tree),
        f"gate:{bucket}/tree",
    )
    back = tmp_path / "back"
    tool(
        "copy",
        "--transfers",
        "8",
        "--multi-thread-cutoff",
        "8M",
        "--multi-thread-streams",
        "4",
        f"gate:{bucket}/tree",
        str(back),
    )
    assert fingerprints(back) == fingerprints(tree)
    tool("check", "--download", str(tree), f"gate:{bucket}/tree")
    assert pathlib.Path(back).is_dir()
    tool("purge", f"gate:{bucket}")


def test_tools_left_no_failed_request(gate):
    """Runs after the two above: none of their requests met a fault of the proxy."""
    faults = [
        entry
        for entry in gate.entries()
        if entry["status"] >= 500 or entry["error"] not in ("-", "")
    ]
    assert not faults, faults[:5]
