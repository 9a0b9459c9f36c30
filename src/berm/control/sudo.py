"""A small sudo for images that have none and cannot install it: `user` becomes root, or whom root may become.

Only a set-user-ID program can change the user, and the kernel ignores that bit on scripts (execve(2)). So
there is one of twenty instructions that becomes root and runs a shell script, which does the rest. Its group
is that of `user`, and nobody else may run it. It is for x86_64; other machines go without.
"""

import struct
from typing import Final

PROGRAM: Final = "/bin/sudo"
SCRIPT: Final = "/usr/local/lib/berm-sudo"
MACHINE: Final = "x86_64"
"""As uname(1) -m says it."""

_BASE: Final = 0x400000
_HEADERS: Final = 64 + 56

# setgid(0), setuid(0), execve("/bin/sh", ["/bin/sh", SCRIPT, arguments...], environment), exit(127). The
# arguments are those that the kernel left on the stack: the count before them and argv[0] are replaced.
_CODE: Final = bytes.fromhex(
    "488b1c24"  # mov rbx, [rsp]: the count
    "488d54dc10"  # lea rdx, [rsp + rbx * 8 + 16]: the environment
    "31ff"  # xor edi, edi
    "b86a000000" "0f05"  # setgid
    "31ff"
    "b869000000" "0f05"  # setuid
    "488d3d22000000"  # lea rdi, [rip + shell]
    "48893c24"  # mov [rsp], rdi
    "488d0d1f000000"  # lea rcx, [rip + script]
    "48894c2408"  # mov [rsp + 8], rcx
    "4889e6"  # mov rsi, rsp
    "b83b000000" "0f05"  # execve
    "6a7f5f"  # push 127; pop rdi
    "6a3c58" "0f05"  # exit
)  # fmt: skip
_SHELL: Final = b"/bin/sh\0"

TEXT: Final = r"""#!/bin/sh
# What is asked of sudo most: sudo [-n] [-E] [-H] [-i] [-s] [-u USER] [NAME=VALUE...] [COMMAND...]
who=root
while [ $# -gt 0 ]; do
    case "$1" in
        -u | --user) who=$2; shift;;
        --user=*) who=${1#*=};;
        -u?*) who=${1#-u};;
        -[EHSbnis] | --preserve-env* | --non-interactive | --set-home | --login | --shell) ;;
        -[klvV] | --validate | --list | --version) exit 0;;
        --) shift; break;;
        -*) echo "sudo: the option $1 is not known here" >&2; exit 1;;
        [A-Za-z_]*=*) export "$1";;
        *) break;;
    esac
    shift
done
home=$(while IFS=: read -r name _ _ _ _ home _; do [ "$name" != "$who" ] || echo "$home"; done < /etc/passwd)
[ -n "$home" ] || { echo "sudo: unknown user $who" >&2; exit 1; }
export SUDO_USER=user HOME="$home" USER="$who" LOGNAME="$who"
[ $# -gt 0 ] || set -- /bin/sh
[ "$who" = root ] || exec su -s /bin/sh -- "$who" -c 'exec "$0" "$@"' "$@"
exec "$@"
"""


def program() -> bytes:
    """The set-user-ID program: an ELF file of one segment (elf(5))."""
    content = _CODE + _SHELL + SCRIPT.encode() + b"\0"
    size = _HEADERS + len(content)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + content


def installation() -> str:
    """Shell commands that install it where `$gid` is the group of `user`; printf(1) writes any byte."""
    octal = "".join(f"\\{byte:03o}" for byte in program())
    return f"""\
if ! command -v sudo > /dev/null && [ "$(uname -m)" = {MACHINE} ]; then
    mkdir -p {SCRIPT.rpartition("/")[0]}
    cat > {SCRIPT} << 'END'
{TEXT}END
    printf '{octal}' > {PROGRAM}
    chown "0:$gid" {PROGRAM}
    chmod 4750 {PROGRAM}
    echo "No sudo in this image: a small one takes its place"
fi
"""
