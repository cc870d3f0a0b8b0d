"""A policy document of a file, as the service reads it, and the places in it. Pure."""

from typing import final

import attrs

from exchanger.codes.problem import Problem
from exchanger.policy.documents.document import PolicyDocument
from exchanger.tools.check.files import ManifestFile, Object
from exchanger.tools.check.source_map import Place


@final
@attrs.frozen
class CheckedDocument:
    """A policy document of a file. ``meant``: nothing selects it, but it was meant to be policy. ``bare``: it is the whole file.

    ``problems`` are those of the document by itself, with their places in its text.
    """

    file: ManifestFile
    object: Object
    policy: PolicyDocument
    problems: tuple[Problem, ...] = ()
    meant: bool = False
    bare: bool = False

    def place(self, line: int | None, column: int | None) -> Place:
        """Return the place in the file for a place in the document: the object itself if that is unknown.

        Without a column, it is the line's first character that is neither a blank nor a dash.
        """
        places = self.object.document
        if line is None or (places is None and not self.bare):
            return self.object.place
        said = (self.file.text if places is None else places.lines).line(line)
        column = column or len(said) - len(said.lstrip(" -")) + 1
        return Place(line, column) if places is None else self.file.text.place(places.offset(line, column))
