import os
import socket
from collections.abc import Iterator

import pytest

from berm.launcher import spec

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("count", [0, 1, 3, spec.MAX_FDS])
def test_descriptors_come_with_a_packet_and_close_when_a_program_is_started(pair: Pair, count: int) -> None:
    ours, theirs = pair
    with open(os.devnull) as file:
        spec.send(ours, {"a": [1]}, (file.fileno(),) * count)
        packet = spec.receive(theirs)
        assert packet
        assert packet[0] == {"a": [1]}
        assert [os.path.sameopenfile(fd, file.fileno()) for fd in packet[1]] == [True] * count
    assert not any(map(os.get_inheritable, packet[1]))
    for fd in packet[1]:
        os.close(fd)


def test_where_there_is_nothing_nobody_has_to_wait(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        spec.receive(pair[1], socket.MSG_DONTWAIT)


def test_an_end_is_told_from_a_packet(pair: Pair) -> None:
    spec.send(pair[0], {})
    pair[0].close()
    assert spec.receive(pair[1]) == ({}, [])
    assert spec.receive(pair[1]) is None


def test_what_is_too_long_is_refused(pair: Pair) -> None:
    with pytest.raises(ValueError, match="is more than"):
        spec.send(pair[0], {"a": "x" * spec.MAX_PACKET})
