"""Runs ``exchanger explain``, ``test`` and ``diff`` with the arguments that ``options`` declares; each returns its exit status."""

import argparse

import trio

from exchanger.tools.diff import run_diff
from exchanger.tools.explain import ExplainOptions, run_explain
from exchanger.tools.policies import Chosen
from exchanger.tools.testing import run_tests


def explain(namespace: argparse.Namespace) -> int:
    """Run ``exchanger explain``."""
    options = ExplainOptions(
        namespace.method,
        namespace.url,
        tuple(namespace.header),
        tuple(namespace.policy),
        namespace.cluster,
        namespace.console,
        namespace.console_token_file,
        namespace.kubeconfig,
        namespace.context,
        namespace.issuers,
        namespace.grants,
        namespace.raw,
        namespace.json,
    )
    return trio.run(run_explain, options)


def test(namespace: argparse.Namespace) -> int:
    """Run ``exchanger test``."""
    return run_tests(namespace.files, namespace.policy, Chosen(namespace.issuers, namespace.grants), as_json=namespace.json)


def diff(namespace: argparse.Namespace) -> int:
    """Run ``exchanger diff``."""
    old, new = Chosen(namespace.old_issuers, namespace.old_grants), Chosen(namespace.new_issuers, namespace.new_grants)
    return run_diff(namespace.old, namespace.new, old, new, as_json=namespace.json)
