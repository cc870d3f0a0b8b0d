"""What callers read when they are denied."""

import re
from typing import final

import attrs

from tests.simulation.gateway import Question
from tests.simulation.part import SECRET, Part


@final
@attrs.define(eq=False)
class Bodies(Part):
    """Looks for secrets and tokens in the bodies of denials."""

    def ended(self, question: Question, /) -> None:
        body = question.reply.body if question.reply is not None else ""
        if re.search(SECRET, body.encode()):
            self.complain(f"a secret in the body {body!r}: {question}")
