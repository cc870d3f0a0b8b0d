"""The regular expressions of the package, and a plain backtracking matcher that counts its steps.

The matcher follows the parse tree of ``re`` without any optimisation. So its steps do not depend on the interpreter or the machine, and its
matches show what an interpreter's own ``re`` should find.
"""

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from re import _compiler as compiler  # type: ignore[attr-defined]  # not in typeshed
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final, final

import attrs

import exchanger

ROOT: Final = Path(__file__).resolve().parent.parent
# Where patterns work on texts of others, or decide what is built, released or measured.
FOLDERS: Final = ("exchanger", ".ci", "bench", "image", "scripts", "tests")
FUNCTIONS: Final = frozenset({"compile", "match", "fullmatch", "search", "split", "sub", "subn", "findall", "finditer"})
# Ways to use a pattern that try one place only.
ANCHORED: Final = frozenset({"match", "fullmatch"})
_CHARACTERS: Final = (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN)
_REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
# Those that ranges and categories are represented by, besides their ends.
_USUAL: Final = "aA0_ \t\n\r/.-%é\u2028"

Text = str | bytes
Tree = Any  # re._parser.SubPattern
Next = Callable[[int], bool]
Match = Callable[[int, Next], bool]


@final
@attrs.frozen
class Used:
    """A pattern with its name, and the methods that it is used by."""

    name: str
    pattern: re.Pattern[Any]
    methods: frozenset[str]

    def __str__(self) -> str:
        return self.name


def package_patterns() -> list[Used]:
    """Return the patterns that the package's modules keep."""
    every = "\n".join(file.read_text() for file in sorted((ROOT / "exchanger").rglob("*.py")))
    found: dict[int, Used] = {}
    for info in pkgutil.walk_packages(exchanger.__path__, "exchanger."):
        if "._proto" in info.name or info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            for pattern, method in _patterns_in(value):
                users = Path(str(module.__file__)).read_text() if name.startswith("_") else every
                methods = {method} if method else set(re.findall(rf"\b{re.escape(name)}\.(\w+)\b", users)) or {"search"}
                used = found.setdefault(id(pattern), Used(f"{info.name.removeprefix('exchanger.')}.{name}", pattern, frozenset()))
                found[id(pattern)] = attrs.evolve(used, methods=used.methods | methods)
    return list(found.values())


def _patterns_in(value: object) -> Iterator[tuple[re.Pattern[Any], str]]:
    owner = getattr(value, "__self__", None)
    if isinstance(value, re.Pattern):
        yield value, ""
    elif isinstance(owner, re.Pattern):
        yield owner, getattr(value, "__name__", "")
    elif isinstance(value, Mapping | tuple | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _patterns_in(part)


def written_patterns(file: Path) -> Iterator[tuple[int, str | bytes, bool]]:
    """Yield the line and the text of each pattern that ``file`` passes to ``re``, and whether the module keeps it.

    Parts of f-strings that are only known at run time are replaced by a character.
    """
    tree = ast.parse(file.read_text())
    kept = {
        call
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value
        for call in ast.walk(statement.value)
    }
    for call in ast.walk(tree):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name), args=[pattern, *_]) if name in FUNCTIONS:
                text = _written(pattern)
                if text is not None:
                    yield call.lineno, text, call in kept
            case _:
                pass


def _written(node: ast.expr) -> str | bytes | None:
    match node:
        case ast.Constant(value=str() | bytes() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "x" for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            texts = [_written(left), _written(right)]
            return "".join(text if isinstance(text, str) else "x" for text in texts)
        case _:
            return None


def parsed(pattern: Text, flags: int = 0) -> Tree:
    """Return the parse tree."""
    return parser.parse(pattern, flags)


def parts_of(tree: Tree) -> Iterator[tuple[Any, Any]]:
    """Yield all nodes, each with its arguments."""
    for node, argument in tree:
        yield node, argument
        stack = [argument]
        while stack:
            inner = stack.pop()
            if isinstance(inner, parser.SubPattern):
                yield from parts_of(inner)
            elif isinstance(inner, tuple | list):
                stack.extend(inner)


def has_possessive_group(tree: Tree) -> bool:
    """Return whether anything but a single character or class has a possessive quantifier."""
    return any(node is op.POSSESSIVE_REPEAT and not _is_character(argument[2]) for node, argument in parts_of(tree))


def _is_character(tree: Tree) -> bool:
    return len(tree) == 1 and tree[0][0] in _CHARACTERS


def character_test(node: Any, argument: Any, flags: int) -> Callable[[Text], bool]:
    """Return whether a single character matches a node of a parse tree."""
    key = (repr((node, argument)), flags)
    if key not in _tests:
        state = parser.State()
        state.flags = flags
        _tests[key] = compiler.compile(parser.SubPattern(state, [(node, argument)]), flags)
    pattern = _tests[key]
    return lambda character: pattern.fullmatch(character) is not None


_tests: Final[dict[tuple[str, int], re.Pattern[Any]]] = {}


class TooManyStepsError(Exception):
    """Matching took more steps than allowed."""


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let functions call each other as often as a text has characters, several times over. Hypothesis sets the limit for each example."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@final
@attrs.define(eq=False)
class Matcher:
    """Matches ``pattern`` by backtracking; ``steps`` counts characters that were looked at, and ways that were tried."""

    pattern: re.Pattern[Any]
    most: int = 1_000_000
    steps: int = 0
    _text: Text = ""
    _groups: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    _match: Match = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._match = self._sequence(parsed(self.pattern.pattern, self.pattern.flags), self.pattern.flags)

    def spans(self, text: Text, method: str) -> list[tuple[tuple[int, int], ...]]:
        """Return the spans of the match with all its groups, or those of all matches if ``method`` does not begin at the start."""
        self._text = text
        found = []
        at, empty_at = 0, -1  # an empty match may follow another match, but not an empty one at its place
        while at <= len(text):
            self._groups, ends = {}, list[int]()
            is_end = self._is_end(ends, len(text) if method == "fullmatch" else None, at if at == empty_at else -1)
            with _deep_recursion():
                is_match = self._match(at, is_end)
            if is_match:
                end = ends[0]
                found.append(((at, end), *(self._groups.get(group, (-1, -1)) for group in range(1, self.pattern.groups + 1))))
                at, empty_at = end, at if end == at else -1
            else:
                at += 1
            if method in ANCHORED:
                break
        return found

    @staticmethod
    def _is_end(ends: list[int], wanted: int | None, unwanted: int) -> Next:
        def is_end(position: int) -> bool:
            if position == unwanted or wanted not in {None, position}:
                return False
            ends.append(position)
            return True

        return is_end

    def _step(self, count: int = 1) -> None:
        self.steps += count
        if self.steps > self.most:
            raise TooManyStepsError

    def _sequence(self, tree: Tree, flags: int) -> Match:
        parts = [self._part(node, argument, flags) for node, argument in tree]

        def match(at: int, then: Next, index: int = 0) -> bool:
            if index == len(parts):
                return then(at)
            return parts[index](at, lambda position: match(position, then, index + 1))

        return parts[0] if len(parts) == 1 else match

    def _part(self, node: Any, argument: Any, flags: int) -> Match:
        if node in _CHARACTERS:
            return self._character(node, argument, flags)
        if node in _REPEATS:
            low, high, tree = argument
            most = float("inf") if high is op.MAXREPEAT else high
            return (self._run if _is_character(tree) else self._repeat)(node, low, most, tree, flags)
        match node:
            case op.AT:
                return self._position(argument)
            case op.BRANCH:
                return self._branch([self._sequence(tree, flags) for tree in argument[1]])
            case op.SUBPATTERN:
                group, added, removed, tree = argument
                return self._group(group, self._sequence(tree, (flags | added) & ~removed))
            case op.ATOMIC_GROUP:
                return self._atomic(self._sequence(argument, flags))
            case op.ASSERT | op.ASSERT_NOT:
                direction, tree = argument
                return self._assertion(direction, tree, flags, wanted=node is op.ASSERT)
            case op.GROUPREF:
                return self._reference(argument)
            case _:
                raise NotImplementedError(str(node))

    def _is_one(self, node: Any, argument: Any, flags: int) -> Next:
        test = character_test(node, argument, flags)

        def is_one(at: int) -> bool:
            self._step()
            return at < len(self._text) and test(self._text[at : at + 1])

        return is_one

    def _character(self, node: Any, argument: Any, flags: int) -> Match:
        is_one = self._is_one(node, argument, flags)
        return lambda at, then: is_one(at) and then(at + 1)

    def _run(self, node: Any, low: int, most: float, tree: Tree, flags: int) -> Match:
        ((kind, one),) = tree
        is_one = self._is_one(kind, one, flags)

        def lazy(at: int, then: Next) -> bool:
            count = 0
            while count < low:
                if not is_one(at + count):
                    return False
                count += 1
            while not then(at + count):
                if count >= most or not is_one(at + count):
                    return False
                count += 1
            return True

        def greedy(at: int, then: Next) -> bool:
            count = 0
            while count < most and is_one(at + count):
                count += 1
            if count < low:
                return False
            if node is op.POSSESSIVE_REPEAT:
                return then(at + count)
            for kept in range(count, low - 1, -1):
                self._step()
                if then(at + kept):
                    return True
            return False

        return lazy if node is op.MIN_REPEAT else greedy

    def _repeat(self, node: Any, low: int, most: float, tree: Tree, flags: int) -> Match:
        body = self._sequence(tree, flags)

        def match(at: int, then: Next, count: int = 0) -> bool:
            self._step()

            def more() -> bool:
                # An iteration that reads nothing ends the loop.
                return count < most and body(at, lambda end: (end > at or count < low) and match(end, then, count + 1))

            if count < low:
                return more()
            return (then(at) or more()) if node is op.MIN_REPEAT else (more() or then(at))

        return self._atomic(match) if node is op.POSSESSIVE_REPEAT else match

    def _branch(self, ways: Sequence[Match]) -> Match:
        def match(at: int, then: Next) -> bool:
            for way in ways:
                self._step()
                if way(at, then):
                    return True
            return False

        return match

    def _group(self, group: int | None, body: Match) -> Match:
        if group is None:
            return body

        def match(at: int, then: Next) -> bool:
            def ended(end: int) -> bool:
                before = self._groups.get(group, (-1, -1))
                self._groups[group] = (at, end)
                if then(end):
                    return True
                self._groups[group] = before
                return False

            return body(at, ended)

        return match

    def _atomic(self, body: Match) -> Match:
        def match(at: int, then: Next) -> bool:
            ends: list[int] = []

            def ended(end: int) -> bool:
                ends.append(end)
                return True

            return body(at, ended) and then(ends[0])

        return match

    def _assertion(self, direction: int, tree: Tree, flags: int, *, wanted: bool) -> Match:
        body = self._sequence(tree, flags)
        width = tree.getwidth()[0] if direction < 0 else 0

        def match(at: int, then: Next) -> bool:
            holds = at >= width and body(at - width, lambda end: direction > 0 or end == at)
            return holds is wanted and then(at)

        return match

    def _reference(self, group: int) -> Match:
        def match(at: int, then: Next) -> bool:
            begin, end = self._groups.get(group, (-1, -1))
            self._step(end - begin + 1)
            wanted = self._text[begin:end]
            return begin >= 0 and self._text[at : at + end - begin] == wanted and then(at + end - begin)

        return match

    def _position(self, where: Any) -> Match:
        source = {
            op.AT_BEGINNING: "^", op.AT_BEGINNING_STRING: r"\A", op.AT_END: "$", op.AT_END_STRING: r"\Z",
            op.AT_BOUNDARY: r"\b", op.AT_NON_BOUNDARY: r"\B",
        }[where]  # fmt: skip
        pattern = re.compile(source if isinstance(self.pattern.pattern, str) else source.encode(), self.pattern.flags & ~re.DEBUG)

        def match(at: int, then: Next) -> bool:
            self._step()
            return pattern.match(self._text, at) is not None and then(at)  # type: ignore[arg-type]

        return match


@final
@attrs.define(eq=False)
class Samples:
    """Makes texts that ``pattern`` may match, and texts that nearly are such."""

    pattern: re.Pattern[Any]
    random: Random
    _tree: Tree = attrs.field(init=False)
    _alphabet: list[str] = attrs.field(init=False)
    _groups: dict[int, str] = attrs.field(factory=dict)
    _choices: dict[str, list[str]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._tree = parsed(self.pattern.pattern, self.pattern.flags)
        codes = [code for node, argument in parts_of(self._tree) for code in _codes(node, argument)]
        self._alphabet = sorted(
            {*map(chr, codes), *_USUAL} if self._is_text else {chr(code) for code in (*codes, *_USUAL.encode()) if code < 256}
        )

    @property
    def _is_text(self) -> bool:
        return isinstance(self.pattern.pattern, str)

    def text(self) -> Text:
        """Return a text with some pieces of the pattern."""
        pieces = [
            self._sample(self._tree, self.pattern.flags, {}) if self.random.random() < 0.6 else self._noise()
            for _ in range(self.random.randint(1, 3))
        ]
        text = "".join(pieces)
        if text and self.random.random() < 0.4:
            at = self.random.randrange(len(text))
            text = text[:at] + self.random.choice(self._alphabet) + text[at + self.random.randint(0, 1) :]
        return self._as_text(text)

    def attacks(self, size: int) -> Iterator[tuple[Text, Text]]:
        """Yield texts in which something is repeated ``size`` times, each with the same text for twice as often."""
        repeats = [argument for node, argument in parts_of(self._tree) if node in _REPEATS and argument[1] > size]
        for argument in [None, None, *repeats]:
            for _ in range(4):
                state = self.random.getstate()
                pair = []
                for count in (size, 2 * size):
                    self.random.setstate(state)
                    pair.append(self._attack(argument, count))
                yield pair[0], pair[1]

    def _attack(self, repeated: Any, count: int) -> Text:
        # All that is random comes first, and is the same for texts of two lengths.
        prefix, suffix, piece, cut = self._noise(), self._noise(), self.random.randint(1, 6), self.random.random()
        inner = self._sample(self._tree, self.pattern.flags, {} if repeated is None else {id(repeated): count})
        if repeated is None:
            inner = inner[:piece] * count
        elif cut < 0.5:
            inner = inner[: int(len(inner) * (1 - cut / 2))]
        return self._as_text((prefix if cut < 0.3 else "") + inner + suffix)

    def _noise(self) -> str:
        return "".join(self.random.choices(self._alphabet, k=self.random.randint(0, 3)))

    def _as_text(self, text: str) -> Text:
        return text if self._is_text else text.encode("latin-1")

    def _sample(self, tree: Tree, flags: int, counts: Mapping[int, int]) -> str:
        return "".join(self._part(node, argument, flags, counts) for node, argument in tree)

    def _part(self, node: Any, argument: Any, flags: int, counts: Mapping[int, int]) -> str:
        if node in _CHARACTERS:
            return self.random.choice(self._accepted(node, argument, flags) or [""])
        if node in _REPEATS:
            low, high, tree = argument
            if (count := counts.get(id(argument))) is not None:
                return self._sample(tree, flags, counts) * count
            return "".join(self._sample(tree, flags, counts) for _ in range(self.random.randint(low, min(high, low + 2))))
        match node:
            case op.BRANCH:
                return self._sample(self.random.choice(argument[1]), flags, counts)
            case op.SUBPATTERN:
                group, added, removed, tree = argument
                text = self._sample(tree, (flags | added) & ~removed, counts)
                self._groups[group] = text
                return text
            case op.ATOMIC_GROUP:
                return self._sample(argument, flags, counts)
            case op.GROUPREF:
                return self._groups.get(argument, "")
            case _:
                return ""

    def _accepted(self, node: Any, argument: Any, flags: int) -> list[str]:
        key = repr((node, argument, flags))
        if key not in self._choices:
            accepts = character_test(node, argument, flags)
            self._choices[key] = [character for character in self._alphabet if accepts(self._as_text(character))]
        return self._choices[key]


def _codes(node: Any, argument: Any) -> Iterator[int]:
    match node:
        case op.LITERAL | op.NOT_LITERAL:
            yield argument
        case op.IN:
            for kind, value in argument:
                yield from {op.LITERAL: (value,), op.RANGE: value}.get(kind, ())
        case _:
            pass
