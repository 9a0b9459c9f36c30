"""What the documentation says is held against the code."""

import re
from pathlib import Path

import pytest

from berm import __version__
from berm.config import SETTINGS, Setting

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_every_setting_is_documented_as_it_is(setting: Setting) -> None:
    default = f"`{setting.default}`" if setting.default else ""
    assert f"| `{setting.variable}` | {default} | {setting.help} |" in (ROOT / "docs/settings.md").read_text()


def test_the_changelog_begins_with_this_version() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first
    assert first[1] == __version__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_dependency_has_its_reason() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    block = project.partition("\ndependencies = [")[2].partition("]")[0]
    for name in re.findall(r'"([a-z0-9-]+)', block):
        assert name in table, name
