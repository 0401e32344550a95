"""Every file, heading and function that comments and pages cite exists.

A citation that leads nowhere costs its reader more than none: what it speaks of may have moved, or
may be gone with the rule it explained. Read are comments and docstrings of the sources, and pages.
"""

import ast
import ctypes
import dataclasses
import fnmatch
import functools
import io
import os
import pathlib
import re
import tokenize

import pytest

from support.checkout import ROOT

# What holds comments. Data and stored inputs are what others wrote.
FOLDERS = ("src", "include", "demo", "tests", "bench", "scripts", "cmake", "config", "systemd")
FOREIGN_FOLDERS = ("tests/data", "tests/fuzz/corpus", "bench/conf")
PATH_FOLDERS = (*FOLDERS, "docs", ".ci", ".github")
CPP = {".cpp", ".hpp", ".c", ".h"}
# Pages that speak of the code: there a single word in backticks is a name of it.
PAGES_ON_CODE = {"docs/architecture.md", "CONTRIBUTING.md"}

# nginx's files and functions.
FOREIGN = re.compile(r"ngx_\w+")
# A word that a reader fills in: NAME, <module>, *.
PLACEHOLDER = re.compile(r"<\w+>|\*|(?<![A-Za-z])[A-Z]{2,}(?![A-Za-z])")

DECLARED = re.compile(
    r"\b(?:class|struct|union|namespace|using|enum(?: class)?) (?:\w+::)*(\w+)(?: final)? *[:={]"
)
LIBC = ctypes.CDLL(None)


@dataclasses.dataclass(frozen=True)
class Text:
    """A page, or the comments of a source with their line breaks taken out."""

    path: str
    words: str
    is_page: bool


# --- what is read


def tree_of(root):
    """The text of every file, by its path; None for one that is not read."""
    texts = {}
    for folder, folders, files in os.walk(root):
        inside = pathlib.Path(folder).relative_to(root)
        beside = {".git", "__pycache__"} | ({"build"} if inside == pathlib.Path() else set())
        folders[:] = [name for name in folders if name not in beside]
        for name in files:
            path = str(inside / name)
            texts[path] = None
            if may_cite(path):
                texts[path] = (root / path).read_text(encoding="utf-8", errors="replace")
    return texts


def is_below(path, folders):
    return any(path.startswith(f"{folder}/") for folder in folders)


def may_cite(path):
    if is_below(path, FOREIGN_FOLDERS):
        return False
    if path.endswith(".md"):
        return True
    return is_below(path, FOLDERS) or path == "CMakeLists.txt"


CPP_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'""", re.DOTALL
)
PYTHON_STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def cpp_parts(text):
    comments, code = [], []
    last = 0
    for match in CPP_TOKEN.finditer(text):
        code.append(text[last : match.start()])
        last = match.end()
        if match[0].startswith(("//", "/*")):
            comments.append((text.count("\n", 0, match.start()), match[0].strip("/*")))
    code.append(text[last:])
    return comments, " ".join(code)


def python_parts(text):
    comments, code = [], []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append((token.start[0], token.string.lstrip("#")))
        elif token.type not in PYTHON_STRINGS:
            code.append(token.string)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            if said := ast.get_docstring(node):
                comments.append((node.body[0].lineno, said))
    return comments, " ".join(code)


def script_parts(text):
    comments = [
        (number, match[1])
        for number, line in enumerate(text.split("\n"))
        if (match := re.search(r"(?:^|\s)#+ (.*)", line))
    ]
    return comments, re.sub(r"(?:^|\s)# [^\n]*", "", text)


@functools.lru_cache(maxsize=None)
def parts_of(path, text):
    """The comments of a source, as (line, text), and its code, without comments and without the
    strings of a program: a name has to be one of the code."""
    suffix = pathlib.PurePosixPath(path).suffix
    if suffix in CPP:
        return cpp_parts(text)
    if suffix == ".py" or text.startswith("#!/usr/bin/python3"):
        return python_parts(text)
    return script_parts(text)


def joined(comments):
    """Comments of lines that follow each other are one text: citations break over lines."""
    out, last = [], None
    for line, text in comments:
        out.append((" " if last is not None and line == last + 1 else "\n") + text.strip())
        last = line + text.count("\n")
    return re.sub(r"[ \t]+", " ", "".join(out))


class Tree:
    """The files, what they say, and the names that their code has."""

    def __init__(self, texts):
        self.files = set(texts)
        self.names = {pathlib.PurePosixPath(path).name for path in texts}
        self.suffixes = {pathlib.PurePosixPath(path).suffix for path in texts}
        self.folders = {str(p) for path in texts for p in pathlib.PurePosixPath(path).parents}
        self.texts, code = [], []
        self.headings = {}
        self.strings = set()  # that the daemon says: codes, words of the configuration
        for path, text in texts.items():
            if text is None:
                continue
            if path.endswith(".md"):
                self.texts.append(Text(path, re.sub(r"```.*?```", "", text, flags=re.DOTALL), True))
                self.headings[path] = [
                    h.replace("`", "") for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
                ]
            else:
                comments, rest = parts_of(path, text)
                self.texts.append(Text(path, joined(comments), False))
                code.append(rest)
            if path.startswith(("src/", "include/")):
                self.strings.update(re.findall(r'"(\w+)"', text))
        self.code = "\n".join(code)
        self.words = set(re.findall(r"\w+", self.code))
        self.modules = {path.split("/")[1] for path in texts if re.match(r"src/\w+/", path)}
        self.scopes = set(re.findall(r"\b(\w+)::", self.code))
        self.members = set(re.findall(r"\b(\w+::\w+)", self.code))
        self.beside = {}  # the words of the files that declare a type or a namespace
        for part in code:
            for name in set(DECLARED.findall(part)) - {"std"}:
                self.beside.setdefault(name, set()).update(re.findall(r"\w+", part))


# --- what is cited


def is_there(tree, path, beside):
    """True for a file or folder by its path in the repository or beside a file of it; a placeholder
    stands for anything."""
    for base in ("", f"{os.path.dirname(beside)}/"):
        at = os.path.normpath(base + path)
        if at in tree.files or at in tree.folders:
            return True
        pattern = PLACEHOLDER.sub("*", at)
        if "*" in pattern and fnmatch.filter(tree.files | tree.folders, pattern):
            return True
    return False


def is_of_module(tree, path):
    """True for net/stream, net/stream.hpp: a file of a module, wherever it lies."""
    return any(
        f"{base}/{path}{end}" in tree.files
        for base in ("src", "include/s3gate")
        for end in ("", ".cpp", ".hpp")
    )


def problems_of_paths(tree, text):
    """`docs/config.md`, `src/http/`, `scripts/install-deps`, tests/fuzz/*_fuzz.cpp"""
    folders = "|".join(map(re.escape, PATH_FOLDERS))
    for cited in re.findall(rf"(?<![\w/.$}}>-])((?:{folders})/[\w./<>*-]*)", text.words):
        path = cited.rstrip(".-").rstrip("/")
        if pathlib.PurePosixPath(path).suffix not in tree.suffixes:
            continue  # another project's
        if not is_there(tree, path, text.path) and not is_of_module(tree, path):
            yield f"{text.path}: no file {path}"


def problems_of_modules(tree, text):
    """`net/stream`, policy/retry_rule"""
    modules = "|".join(sorted(tree.modules - {"config"}))  # config/ is a folder as well
    pattern = rf"(?<![\w/.:-])((?:{modules})/[a-z_]+(?:\.\w+)?)(?![\w/.-]*/)"
    for cited in re.findall(pattern, text.words):
        is_ours = pathlib.PurePosixPath(cited).suffix in ("", ".cpp", ".hpp")  # net/tcp_states.h
        if is_ours and not is_of_module(tree, cited):
            yield f"{text.path}: no file of a module {cited}"


def problems_of_names(tree, text):
    """retry_rule.cpp, `real/test_node_dies.py`: some file ends so."""
    for cited in re.findall(r"(?<![\w<>*-])([\w<>*./-]*\w\.(?:cpp|hpp|py|md|cmake))\b", text.words):
        end = re.sub(r"^(\.{0,2}/)+", "", cited)
        name = pathlib.PurePosixPath(end).name
        if FOREIGN.match(name) or name in tree.names and any(
            path == end or path.endswith(f"/{end}") for path in tree.files
        ):
            continue
        pattern = PLACEHOLDER.sub("*", name)
        if "*" not in pattern or not fnmatch.filter(tree.names, pattern):
            yield f"{text.path}: no file {cited}"


def problems_of_headings(tree, text):
    """docs/operations.md, "Start"; [architecture.md](architecture.md), "Retry" """
    cited = re.findall(
        r'([\w/.-]+\.md)(?:`|\]\([^)]*\))?,?\s+(?:\()?"([^"]+)"(?:,? and "([^"]+)")?', text.words
    )
    for page, *headings in cited:
        path = page_at(tree, text.path, page)
        for heading in filter(None, headings):
            if path is not None and " ".join(heading.split()) not in tree.headings[path]:
                yield f'{text.path}: {path} has no heading "{heading}"'


def page_at(tree, path, page):
    beside = os.path.normpath(os.path.join(os.path.dirname(path), page))
    return next((p for p in (page, beside) if p in tree.headings), None)


def anchors_of(headings):
    """As the places that show Markdown make them: letters, digits, - and _, blanks become -."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def problems_of_links(tree, text):
    """[text](path#anchor)"""
    for target in re.findall(r"\]\(([^)\s]+)\)", text.words) if text.is_page else ():
        if re.match(r"[a-z]+:", target):
            continue
        page, _, anchor = target.partition("#")
        beside = os.path.join(os.path.dirname(text.path), page)
        path = os.path.normpath(beside) if page else text.path
        if path not in tree.files and path not in tree.folders:
            yield f"{text.path}: no file {target}"
        elif anchor and anchor not in anchors_of(tree.headings.get(path, [])):
            yield f"{text.path}: no heading {target}"


def problems_of_functions(tree, text):
    """settle(), Worker::drain, `Exchange::run`"""
    words = text.words
    if text.is_page:
        words = "\n".join(re.findall(r"`([^`\n]+)`", words))
    name = r"[A-Za-z_]\w*"
    pattern = rf"(?<![\w.:~-])((?:{name}::)*{name}\(\)|{name}(?:::\w+)+)"
    for cited in re.findall(pattern, words):
        scopes = cited.removesuffix("()").split("::")
        name = scopes.pop()
        if FOREIGN.match(cited) or is_of_a_library(tree, scopes, name):
            continue
        if not is_member(tree, scopes[-1], name) if scopes else name not in tree.words:
            yield f"{text.path}: no {cited} in the code"


def is_member(tree, scope, name):
    return f"{scope}::{name}" in tree.members or name in tree.beside.get(scope, ())


def is_of_a_library(tree, scopes, name):
    """A scope that the code uses and does not declare; a function that the C library has."""
    if scopes:
        return scopes[0] in tree.scopes and scopes[0] not in tree.beside
    return hasattr(LIBC, name)


def problems_of_words(tree, text):
    """`BackendChoice`, `kRelayedPerRound`: on pages about the code, a name in backticks."""
    if text.path in PAGES_ON_CODE:
        for cited in re.findall(r"`([a-z]+_\w+|[A-Z][a-z]+[A-Z]\w+)`", text.words):
            # Programs are called after their module: ${module}_tests.
            ends = {cited, *(cited.removeprefix(module) for module in tree.modules)}
            if not ends & (tree.words | tree.strings) and f"{cited}.hpp" not in tree.names:
                yield f"{text.path}: no {cited} in the code"


RULES = (
    problems_of_paths,
    problems_of_modules,
    problems_of_names,
    problems_of_headings,
    problems_of_links,
    problems_of_functions,
    problems_of_words,
)


def problems_of(texts, path=None):
    """Every citation that leads nowhere, one line each; of one file if it is named."""
    tree = Tree(texts)
    found = set()
    for text in tree.texts:
        if path in (None, text.path):
            found.update(problem for rule in RULES for problem in rule(tree, text))
    return sorted(found)


def test_every_citation_leads_somewhere():
    problems = problems_of(tree_of(ROOT))
    assert not problems, "\n".join(problems)


# What one further line does to a tree without problems: the file, the line, what is said.
BREACHES = {
    "a file in a comment": (
        "src/http/head.cpp",
        "// As src/http/no_such.cpp has it.",
        ["src/http/head.cpp: no file src/http/no_such.cpp"],
    ),
    "a file by its name, in a comment of a header": (
        "include/s3gate/http/head.hpp",
        "int x = 0;  // see no_such.hpp",
        ["include/s3gate/http/head.hpp: no file no_such.hpp"],
    ),
    "a file that is elsewhere": (
        "docs/reliability.md",
        "`soak/test_retry.py` shows it.",
        ["docs/reliability.md: no file soak/test_retry.py"],
    ),
    "a folder in a page": (
        "docs/operations.md",
        "Look into `tests/no_such/`.",
        ["docs/operations.md: no file tests/no_such"],
    ),
    "a file of a module": (
        "docs/architecture.md",
        "`net/no_such` does it.",
        ["docs/architecture.md: no file of a module net/no_such"],
    ),
    "a file in a docstring": (
        "tests/support/waiting.py",
        'def x():\n    """As scripts/no-such does."""',
        ["tests/support/waiting.py: no file scripts/no-such"],
    ),
    "a file in a comment of CMake": (
        "cmake/install.cmake",
        "# For scripts/no-such.",
        ["cmake/install.cmake: no file scripts/no-such"],
    ),
    "a heading that a comment cites over a line's end": (
        "src/http/head.cpp",
        '// Why: docs/architecture.md, "No such\n// heading".',
        ['src/http/head.cpp: docs/architecture.md has no heading "No such heading"'],
    ),
    "a heading that a page cites": (
        "docs/security.md",
        '[operations.md](operations.md), "No such heading"',
        ['docs/security.md: docs/operations.md has no heading "No such heading"'],
    ),
    "a link to a heading": (
        "README.md",
        "[x](docs/operations.md#no-such)",
        ["README.md: no heading docs/operations.md#no-such"],
    ),
    "a link to a file": (
        "README.md",
        "[x](LICENCE)",
        ["README.md: no file LICENCE"],
    ),
    "a function in a page": (
        "docs/architecture.md",
        "`no_such()` decides.",
        ["docs/architecture.md: no no_such() in the code"],
    ),
    "a member in a page": (
        "CONTRIBUTING.md",
        "`Exchange::no_such` decides.",
        ["CONTRIBUTING.md: no Exchange::no_such in the code"],
    ),
    "a member of another type": (
        "docs/architecture.md",
        "`Listener::park` decides.",
        ["docs/architecture.md: no Listener::park in the code"],
    ),
    "a type in a comment": (
        "src/http/head.cpp",
        "// What NoSuch::parse() wants.",
        ["src/http/head.cpp: no NoSuch::parse() in the code"],
    ),
    "a function in a comment": (
        "src/http/head.cpp",
        "// As no_such() does.",
        ["src/http/head.cpp: no no_such() in the code"],
    ),
    "a name on a page about the code": (
        "docs/architecture.md",
        "`NoSuchType` holds it.",
        ["docs/architecture.md: no NoSuchType in the code"],
    ),
}
# What is no citation of ours, or a good one.
FINE = {
    "a system call and a library": "// epoll_wait() and std::move() and boost::system::error_code",
    "nginx's": "// as ngx_http_upstream_hash.c and ngx_time() do",
    "another project's file": "// src/rgw/rgw_common.cc, net/tcp_states.h",
    "placeholders": "// tests/e2e/<topic>/test_NAME.py, tests/fuzz/*_fuzz.cpp",
    "a version": "// HTTP/1.1 over net/stream",
    "text": 'const char* x = "// no_such() of src/no_such.cpp";',
}


@pytest.fixture(name="texts", scope="module")
def texts_fixture():
    return tree_of(ROOT)


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_named(texts, breach):
    file, line, said = BREACHES[breach]
    assert problems_of(texts | {file: f"{texts[file]}\n{line}\n"}, file) == said


@pytest.mark.parametrize("case", FINE)
def test_what_is_fine_is_not_named(texts, case):
    file = "src/http/head.cpp"
    assert not problems_of(texts | {file: f"{texts[file]}\n{FINE[case]}\n"}, file)
