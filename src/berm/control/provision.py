"""Accounts in images: `user`, with sudo, which the SDKs expect of every template, and those of USER steps."""

from collections.abc import Sequence
from typing import Final

from berm.control import sudo

# Accounts are written as lines: there are as many programs for adding them as distributions, and small images
# have none. Running it again changes nothing.
_ACCOUNT: Final = r"""
set -eu
name=$1
PATH="${PATH:-}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

taken() { # FILE ID: whether a line of FILE has ID in its third field
    while IFS=: read -r _ _ id _ || [ -n "$id" ]; do
        [ "$id" != "$2" ] || return 0
    done < "$1"
    return 1
}

line_of() { # FILE NAME: the line of FILE that begins with NAME
    while IFS= read -r line || [ -n "$line" ]; do
        case "$line" in "$2":*) printf '%s\n' "$line"; return 0;; esac
    done < "$1"
    return 1
}

append() { # FILE LINE: after a last line that may not be ended
    [ -z "$(tail -c 1 "$1")" ] || echo >> "$1"
    printf '%s\n' "$2" >> "$1"
}

touch /etc/passwd /etc/group
if [ ! -x /bin/bash ]; then
    printf '#!/bin/sh\nexec /bin/sh "$@"\n' > /bin/bash
    chmod 755 /bin/bash
    echo "No bash here: /bin/bash hands over to /bin/sh"
fi
own_home=
if ! line_of /etc/passwd "$name" > /dev/null; then
    uid=1000
    while taken /etc/passwd "$uid" || taken /etc/group "$uid"; do uid=$((uid + 1)); done
    line_of /etc/group "$name" > /dev/null || append /etc/group "$name:x:$uid:"
    gid=$(line_of /etc/group "$name" | { IFS=: read -r _ _ gid _; echo "$gid"; })
    append /etc/passwd "$name:x:$uid:$gid::/home/$name:/bin/bash"
    [ ! -e /etc/shadow ] || line_of /etc/shadow "$name" > /dev/null || append /etc/shadow "$name:*:::::::"
    own_home=yes
    echo "Added $name with uid $uid"
fi
IFS=: read -r _ _ uid gid _ home _ << END
$(line_of /etc/passwd "$name")
END
if [ ! -d "$home" ]; then
    mkdir -p "$home"
    [ ! -d /etc/skel ] || cp -R /etc/skel/. "$home"
    own_home=yes
fi
[ -z "$own_home" ] || chown -R "$uid:$gid" "$home"
# Every command starts a login shell; Debian's spends half its time on a program that tells who it is for.
if [ -f /etc/profile ] && command -v sed > /dev/null; then
    sed -i 's/"$(id -u)"/"${EUID:-$(id -u)}"/' /etc/profile
fi
[ "$name" = user ] || exit 0
if ! command -v sudo > /dev/null; then
    if command -v apt-get > /dev/null; then
        apt-get -o Acquire::Retries=0 update && apt-get install --yes --no-install-recommends sudo || true
        rm -rf /var/lib/apt/lists/*
    elif command -v apk > /dev/null; then
        apk add --no-cache sudo || true
    elif command -v dnf > /dev/null; then
        dnf install --assumeyes sudo || true
    fi
fi
"""

_SUDOERS: Final = r"""
if command -v sudo > /dev/null; then
    mkdir -p /etc/sudoers.d
    echo 'user ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/user
    chmod 0440 /etc/sudoers.d/user
else
    echo "No sudo: this image has none, and it cannot be installed"
fi
"""

_SCRIPT: Final = _ACCOUNT + sudo.installation() + _SUDOERS

ACCOUNT: Final = "user"
_SHELL: Final = ("/bin/sh", "-c")


def add_account(name: str = ACCOUNT) -> tuple[str, ...]:
    """A command, to be run by root in a sandbox, that adds an account if it is missing; `user` gets sudo."""
    return (*_SHELL, _SCRIPT, "sh", name)


def added_account(command: Sequence[str]) -> str:
    """The account that such a command adds; empty for any other command."""
    return command[-1] if _SCRIPT in command else ""
