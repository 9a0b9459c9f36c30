"""`berm ci init`: a workflow that proves a template on pull requests and deploys it from a branch."""

import re
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from berm import __version__
from berm.cli import output, scaffold
from berm.errors import BermError, Code

app = typer.Typer(help="Templates in continuous integration.", no_args_is_help=True)

PATH = ".github/workflows/e2b-template.yml"
"""Where the workflow lies in a repository."""

_WORKFLOW = """\
# Pull requests that touch the template show its plan; the branch @branch@ deploys it.
name: e2b-template

on:
  pull_request:
    paths:
      - @folder@/**
      - @path@
  push:
    branches:
      - @branch@
    paths:
      - @folder@/**
      - @path@

permissions:
  contents: read

concurrency:
  group: e2b-template-${{ github.ref }}
  # A newer push makes the plan of an older one useless, but a deployment goes on to its end.
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}

jobs:
  plan:
    name: Plan
    if: github.event_name == 'pull_request'
    runs-on: ubuntu-24.04
    timeout-minutes: 15
    steps:
@checkout@
@plan@

  deploy:
    name: Deploy
    if: github.event_name == 'push'
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    steps:
      - name: Look for the server and its key
        env:
          E2B_API_URL: ${{ vars.E2B_API_URL }}
          E2B_API_KEY: ${{ secrets.E2B_API_KEY }}
        run: |
          missing() {
            echo "::error title=berm template::$1 is not set in this repository; $2"
            exit 1
          }
          [ -n "$E2B_API_URL" ] || missing "the variable E2B_API_URL" "it says where the server is"
          [ -n "$E2B_API_KEY" ] || missing "the secret E2B_API_KEY" "make a key with: berm key create ci"
@checkout@
@build@
"""

_CHECKOUT = """\
- uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
  with:
    persist-credentials: false
"""

_BY_ACTION = {
    "plan": """\
- name: Plan the template
  uses: @action@
  with:
    folder: @folder@
    dry-run: true
""",
    "build": """\
- name: Build the template
  uses: @action@
  with:
    folder: @folder@
    url: ${{ vars.E2B_API_URL }}
    key: ${{ secrets.E2B_API_KEY }}
""",
}

_INSTALL = """\
- name: Install berm
  run: |
    python3 -m venv "$RUNNER_TEMP/berm"
    "$RUNNER_TEMP/berm/bin/pip" install --quiet berm==@version@
"""

_BY_COMMAND = {
    "plan": _INSTALL
    + """\
- name: Plan the template
  run: |
    "$RUNNER_TEMP/berm/bin/berm" template build @folder@ --dry-run
""",
    "build": _INSTALL
    + """\
- name: Build the template
  env:
    E2B_API_URL: ${{ vars.E2B_API_URL }}
    E2B_API_KEY: ${{ secrets.E2B_API_KEY }}
  run: |
    "$RUNNER_TEMP/berm/bin/berm" template build @folder@
""",
}


def workflow(folder: str, branch: str, action: str) -> str:
    """The workflow's text. `action` is what `uses:` names; without one, berm is installed and called."""
    steps = {"checkout": _CHECKOUT, **(_BY_ACTION if action else _BY_COMMAND)}
    values = {
        **{name: textwrap.indent(text, " " * 6).rstrip() for name, text in steps.items()},
        "folder": folder,
        "branch": branch,
        "action": action,
        "path": PATH,
        "version": __version__,
    }
    text = _WORKFLOW
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/@-]*|\./")
"""What needs no quotes in YAML nor in a shell, and is no pattern."""


def _plain(option: str, text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{option} is {text!r}",
            "letters, digits and `._/@-` can stand in a workflow as they are",
        )
    return text


@app.command()
def init(
    folder: Annotated[str, typer.Option(help="The template's folder in the repository.")] = "e2b",
    branch: Annotated[str, typer.Option(help="The branch that is deployed.")] = "main",
    action: Annotated[
        str, typer.Option(help="berm's action as `uses:` names it, best by commit; else pip installs berm.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a workflow that is there.")] = False,
) -> None:
    """Write a GitHub workflow for a template into the repository that this directory is in.

    \b
    Examples:
      berm ci init
      berm ci init --folder sandbox --action OWNER/berm@COMMIT
    """
    text = workflow(
        _plain("--folder", folder.strip("/")),
        _plain("--branch", branch),
        _plain("--action", action) if action else "",
    )
    for path in scaffold.write(_repository(), {PATH: text}, force=force):
        output.line(str(path))
    output.note("Commit it, and give the repository the variable E2B_API_URL and the secret E2B_API_KEY.")


def _repository() -> Path:
    here = Path.cwd()
    return next((path for path in (here, *here.parents) if (path / ".git").exists()), here)
