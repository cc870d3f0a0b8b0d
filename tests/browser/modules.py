"""Calls functions of the page's modules without a browser, in the Node.js that Playwright brings along."""

import json
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import playwright

PAGE: Final = Path(__file__).parents[2] / "exchanger/operations/console/page"
NODE: Final = Path(playwright.__file__).with_name("driver") / "node"
# A line is a module, a function's text, which may use all that the module has as ``m``, and its arguments.
RUNNER: Final = """
import { createInterface } from "node:readline";
for await (const line of createInterface({ input: process.stdin })) {
    const [module, expression, args] = JSON.parse(line);
    const f = new Function("m", `return (${expression})`)(await import(module));
    console.log(JSON.stringify((await f(...args)) ?? null));
}
"""


@contextmanager
def modules() -> Generator[Callable[..., Any]]:
    """Yield a function that returns what a function of a module returns, called with these arguments."""
    command = (NODE, "--input-type=module", "--eval", RUNNER)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as node:
        assert node.stdin is not None
        assert node.stdout is not None
        told, said = node.stdin, node.stdout

        def ask(module: str, expression: str, *arguments: object) -> Any:
            told.write(json.dumps([(PAGE / module).as_uri(), expression, arguments]) + "\n")
            told.flush()
            return json.loads(said.readline())

        yield ask
        told.close()
