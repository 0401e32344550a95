"""The house rules of headers: which module may use which, and which headers are in include/ or in
src/.

A module is a folder of src/. Its face, include/s3gate/<module>/, holds the headers that other
modules use; all its other headers are in src/<module>/. Tests may include both.
"""

import dataclasses
import pathlib
import re

import pytest

from support.checkout import ROOT

# Each module and the modules that its files may include, from the bottom to the top: a module is
# below every module that uses it.
MAY_INCLUDE = {
    "base": set(),
    "config": {"base"},
    "s3": {"base"},
    "policy": {"base", "config"},
    "http": {"base", "s3"},
    "net": {"base", "http"},
    "state": {"base", "config", "policy"},
    "observe": {"base", "s3", "state"},
    "proxy": {"base", "s3", "policy", "http", "net", "state", "observe"},
    "control": {"base", "config", "policy", "http", "net", "state", "observe", "proxy"},
    "app": {"base", "config", "policy", "net", "state", "observe", "control"},
    # The demo cluster: a separate program, never part of the daemon.
    "demo": {"base"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = {".cpp", ".hpp", ".h", ".c"}
FACES = "include/s3gate"
FOLDERS = (FACES, "src", "demo")


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of a module; `is_face`: it is in include/."""

    path: pathlib.PurePosixPath
    module: str
    is_face: bool


@dataclasses.dataclass(frozen=True)
class Use:
    """One #include of a file of the tree."""

    user: Source
    used: Source


def texts_of(root):
    """The text of every file of a module, by its path below `root`."""
    return {
        pathlib.PurePosixPath(file.relative_to(root)): file.read_text()
        for folder in FOLDERS
        for file in sorted((root / folder).rglob("*"))
        if file.suffix in SOURCES
    }


def source_of(path):
    """The module and role of the file at `path`, below one of FOLDERS."""
    folder = next(folder for folder in FOLDERS if path.is_relative_to(folder))
    module = "demo" if folder == "demo" else path.relative_to(folder).parts[0]
    return Source(path, module, folder == FACES)


def target_of(path, quote, name):
    """The target of an #include in the file `path`, as a path below the root."""
    if name.startswith("s3gate/"):
        return pathlib.PurePosixPath("include") / name
    if quote == "<":
        return None
    parts = []
    for part in (path.parent / name).parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return pathlib.PurePosixPath(*parts)


def read_tree(texts):
    """The files of the modules, their uses of each other, and the #includes that name no file."""
    sources = {path: source_of(path) for path in texts}
    uses, problems = [], []
    for path, text in texts.items():
        for quote, name in INCLUDE.findall(text):
            target = target_of(path, quote, name)
            if target in sources:
                uses.append(Use(sources[path], sources[target]))
            elif target is not None:
                problems.append(f"{path}: no file of its module is called {name}")
    return sources, uses, problems


def problems_of_directions(sources, uses):
    """Modules and directions that the table lacks, and its unused rows."""
    directions = {(u.user.module, u.used.module) for u in uses if u.user.module != u.used.module}
    allowed = {(user, used) for user, row in MAY_INCLUDE.items() for used in row}
    modules = {source.module for source in sources.values()}
    for module in sorted(modules ^ MAY_INCLUDE.keys()):
        yield f"{module}: " + ("not in the table" if module in modules else "no such module")
    for user, used in sorted(directions - allowed):
        files = sorted(
            str(u.user.path) for u in uses if (u.user.module, u.used.module) == (user, used)
        )
        yield f"{user} may not include {used}: {', '.join(files)}"
    for user, used in sorted(allowed - directions):
        yield f"{user} may include {used}, but does not: take it out of the table"


def problems_of_faces(sources, uses):
    """Headers in include/ that belong in src/, and headers in src/ that other modules use."""
    used_by_others = {u.used.path for u in uses if u.user.module != u.used.module}
    for source in sources.values():
        if source.is_face and source.path not in used_by_others:
            yield f"{source.path}: no other module includes it, so it belongs into src/"
    for use in uses:
        if use.used.is_face:
            continue
        if use.user.module != use.used.module:
            yield f"{use.user.path}: {use.used.path} is private to {use.used.module}"
        elif use.user.is_face:
            yield f"{use.user.path}: a face includes the private {use.used.path}"


def problems_of(texts):
    """All problems of these files, one line each."""
    sources, uses, problems = read_tree(texts)
    return [*problems, *problems_of_directions(sources, uses), *problems_of_faces(sources, uses)]


def test_the_tree_keeps_the_rules():
    problems = problems_of(texts_of(ROOT))
    assert not problems, "\n".join(problems)


def test_each_module_uses_only_modules_below_it():
    below = set()
    for module, row in MAY_INCLUDE.items():
        assert row <= below, f"{module} stands below what it uses"
        below.add(module)


# A breach is one further line in a valid tree: the file, the line, the message.
BREACHES = {
    "a direction that the table lacks": (
        "src/http/head.cpp",
        '#include "s3gate/net/stream.hpp"',
        "http may not include net: src/http/head.cpp",
    ),
    "the same in angle brackets": (
        "src/http/head.cpp",
        "#  include <s3gate/net/stream.hpp>",
        "http may not include net: src/http/head.cpp",
    ),
    "a module that the table lacks": (
        "src/other/thing.cpp",
        "#include <string>",
        "other: not in the table",
    ),
    "a face that nobody uses": (
        "include/s3gate/net/unused.hpp",
        "#pragma once",
        "include/s3gate/net/unused.hpp: no other module includes it, so it belongs into src/",
    ),
    "a private header of another module": (
        "src/control/server.cpp",
        '#include "../proxy/worker.hpp"',
        "src/control/server.cpp: src/proxy/worker.hpp is private to proxy",
    ),
    "a private header in a face": (
        "include/s3gate/proxy/shared.hpp",
        '#include "../../../src/proxy/worker.hpp"',
        "include/s3gate/proxy/shared.hpp: a face includes the private src/proxy/worker.hpp",
    ),
    "the daemon in the demo": (
        "demo/main.cpp",
        '#include "s3gate/http/head.hpp"',
        "demo may not include http: demo/main.cpp",
    ),
    "a file that is not there": (
        "src/app/main.cpp",
        '#include "worker.hpp"',
        "src/app/main.cpp: no file of its module is called worker.hpp",
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_named(breach):
    texts = texts_of(ROOT)
    file, line, said = BREACHES[breach]
    path = pathlib.PurePosixPath(file)
    texts[path] = f"{texts.get(path, '')}\n{line}\n"
    assert problems_of(texts) == [said]
