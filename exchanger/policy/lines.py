"""Where the entries of a document stand in its text.

Must not know: what an entry says.
"""

from exchanger.policy.yaml_nodes import Mapping, Scalar, Sequence, read_nodes

Lines = tuple[int, int]
"""First and last line, counted from 1."""


def entry_lines(text: str) -> tuple[Lines, ...]:
    """Return the lines of each item of ``entries``, in order; nothing where the document is unreadable or has none.

    An entry ends before the next one begins, or before the field of the document that follows; blank lines and comments between two of them
    are the first one's. An entry that is an alias of another has that one's lines.
    """
    root = read_nodes(text)
    if not isinstance(root, Mapping):
        return ()
    entries = next((value for key, value in root.pairs if isinstance(key, Scalar) and key.text == "entries"), None)
    if not isinstance(entries, Sequence):
        return ()
    firsts = [item.line for item in entries.items]
    # What may end an entry: the beginning of any other, and of what follows the list.
    beginnings = sorted({*firsts, *(key.line for key, _ in root.pairs)})
    last = len(text.splitlines())
    following = dict(zip(beginnings, [line - 1 for line in beginnings[1:]] + [last], strict=True))
    return tuple((first, max(first, following[first])) for first in firsts)
