from pathlib import Path

import pytest

from berm.images import packages
from berm.images.merged import View
from berm.images.packages import Package
from tests.images.layers import directory, file, link

DPKG = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Description: GNU C Library
 Package: not-one
 .

Package: gone
Status: deinstall ok config-files
Version: 1

Package: no-version
Status: install ok installed

Version: 3

Package: curl
Status: install ok installed
Version: 7.88\x1b[31m
"""
APK = "C:Q1\nP:musl\nV:1.2.4-r2\nA:x86_64\n\nP:busybox\nV:1.36\nF:bin\nR:busybox\n"


def installed(*layers: Path) -> list[Package]:
    with View(layers) as view:
        return packages.installed(view)


def test_all_records_are_read(tmp_path: Path) -> None:
    file(tmp_path / "var/lib/dpkg/status", DPKG)
    file(tmp_path / "var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2026a\n")
    file(tmp_path / "usr/lib/apk/db/installed", APK)
    link(tmp_path / "lib", "usr/lib")
    directory(tmp_path / "usr/lib/python3/dist-packages/PyYAML-6.0.dist-info")
    directory(tmp_path / "usr/local/lib/python3.11/site-packages/requests-2.34.dist-info")
    directory(tmp_path / "usr/local/lib/python3.11/site-packages/requests")
    assert installed(tmp_path) == [
        Package("apk", "busybox", "1.36"),
        Package("apk", "musl", "1.2.4-r2"),
        Package("deb", "curl", "7.88[31m"),
        Package("deb", "libc6", "2.36-9"),
        Package("deb", "tzdata", "2026a"),
        Package("python", "pyyaml", "6.0"),
        Package("python", "requests", "2.34"),
    ]


def test_there_may_be_no_records(tmp_path: Path) -> None:
    directory(tmp_path / "lib/apk/db/installed")
    link(tmp_path / "var/lib/dpkg", "/../../../../var/lib/dpkg")
    file(tmp_path / "usr/lib/python3")
    assert installed(tmp_path) == []


def test_only_so_much_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MOST", 3)
    monkeypatch.setattr(packages, "LARGEST", 200)
    file(tmp_path / "lib/apk/db/installed", "\n".join(f"P:p{number}\nV:1\n" for number in range(1000)))
    assert len(installed(tmp_path)) == 3
    monkeypatch.setattr(packages, "MOST", 1000)
    assert 3 < len(installed(tmp_path)) < 30


def test_names_are_bounded(tmp_path: Path) -> None:
    file(tmp_path / "lib/apk/db/installed", f"P:{'n' * 5000}\nV:{'1' * 5000}\n")
    assert [len(package.name) for package in installed(tmp_path)] == [200]
