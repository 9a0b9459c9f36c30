"""Layers that several builds share: who makes one, who uses one, and what may be removed."""

import asyncio
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import pytest

from berm.control.control import Control
from berm.control.layers import Layers
from berm.control.workshop import Workshop
from berm.models import Layer, Principal
from berm.store.database import Database
from tests.fakes import FakeNode
from tests.store.samples import OTHER_TEAM, TEAM, add_teams

ONE = Layer("one", 7)


@pytest.fixture
async def workshop(database: Database, node: FakeNode) -> Workshop:
    await add_teams(database)
    return Workshop(node, Layers(database))


def add(node: FakeNode, *names: str) -> None:
    node.layer_names.update(names)


async def all_of(names: Collection[str]) -> Collection[str]:
    """An answer that no record refers to any of them."""
    return names


async def kept(workshop: Workshop, node: FakeNode, key: str, layer: Layer = ONE) -> None:
    """A layer in the cache that nobody holds."""
    add(node, *filter(None, [layer.name]))
    with workshop.hold() as hold:
        await workshop.keep(key, TEAM, layer, 0.5, hold)


# The cache


async def test_what_is_kept_is_found(workshop: Workshop, node: FakeNode) -> None:
    await kept(workshop, node, "a")
    found = await workshop.look(["a", "b"])
    assert {key: (each.layer, each.duration_ms) for key, each in found.items()} == {"a": (ONE, 500)}
    with workshop.hold() as hold:
        assert await workshop.take(["a", "b"], hold) == found


async def test_a_layer_that_is_gone_is_not_found(workshop: Workshop, node: FakeNode) -> None:
    await kept(workshop, node, "a")
    await node.drop_layers(["one"])
    assert await workshop.look(["a"]) == {}
    with workshop.hold() as hold:
        assert await workshop.take(["a"], hold) == {}


async def test_a_step_that_wrote_nothing_needs_no_layer(workshop: Workshop, node: FakeNode) -> None:
    await kept(workshop, node, "a", Layer("", 0))
    assert (await workshop.look(["a"]))["a"].layer == Layer("", 0)
    assert await workshop.collect(all_of) == frozenset()


async def test_what_is_taken_counts_as_used_and_what_is_looked_at_does_not(
    workshop: Workshop, node: FakeNode, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(workshop, node, "a")
    touched: list[str] = []

    async def touch(_layers: Layers, keys: Collection[str]) -> None:
        touched.extend(keys)

    monkeypatch.setattr(Layers, "touch", touch)
    await workshop.look(["a"])
    assert touched == []
    with workshop.hold() as hold:
        await workshop.take(["a"], hold)
    assert touched == ["a"]


async def test_a_layer_that_no_step_made_is_remembered_for_a_team(workshop: Workshop, node: FakeNode) -> None:
    add(node, "img")
    assert not await workshop.remembers(TEAM, "img")
    await workshop.remember(TEAM, "img")
    await workshop.remember(TEAM, "img")
    assert await workshop.remembers(TEAM, "img")
    assert not await workshop.remembers(OTHER_TEAM, "img")
    await node.drop_layers(["img"])
    assert not await workshop.remembers(TEAM, "img")


# What is removed


async def test_what_nobody_uses_is_removed_and_forgotten(workshop: Workshop, node: FakeNode) -> None:
    await kept(workshop, node, "a")
    assert await workshop.collect(all_of) == {"one"}
    assert node.layers() == frozenset()
    add(node, "one")
    assert await workshop.look(["a"]) == {}, "its key stands for nothing any more"


async def test_what_is_referred_to_is_not_removed(workshop: Workshop, node: FakeNode) -> None:
    add(node, "one", "two")

    async def unused(names: Collection[str]) -> Collection[str]:
        return set(names) - {"one"}

    assert await workshop.collect(unused) == {"two"}
    assert node.layers() == {"one"}


async def test_what_is_held_is_not_removed(workshop: Workshop, node: FakeNode) -> None:
    await kept(workshop, node, "a")
    add(node, "two")
    with workshop.hold() as first, workshop.hold() as second:
        await workshop.take(["a"], first)
        await workshop.take(["a"], second)
        second.add(["two"])
        first.release()
        assert await workshop.collect(all_of) == frozenset(), "another holds them still"
    assert await workshop.collect(all_of) == {"one", "two"}


async def test_a_failure_lets_go_of_what_was_held(workshop: Workshop, node: FakeNode) -> None:
    add(node, "one")
    with pytest.raises(RuntimeError), workshop.hold() as hold:
        hold.add(["one"])
        raise RuntimeError
    assert await workshop.collect(all_of) == {"one"}


async def test_nothing_is_taken_that_is_being_removed(workshop: Workshop, node: FakeNode) -> None:
    """Who takes a layer waits for a removal that has begun."""
    await kept(workshop, node, "a")
    with workshop.hold() as hold:
        taking: asyncio.Task[object] | None = None

        async def unused(names: Collection[str]) -> Collection[str]:
            nonlocal taking
            taking = asyncio.create_task(workshop.take(["a"], hold))
            await asyncio.wait([taking], timeout=0.1)
            return names

        assert await workshop.collect(unused) == {"one"}
        assert taking
        assert await taking == {}


async def test_what_is_let_go_of_while_others_are_counted_is_not_removed(
    workshop: Workshop, node: FakeNode
) -> None:
    """It was recorded too late for the count, and before it was let go of."""
    add(node, "one", "two")
    with ExitStack() as stack:
        stack.enter_context(workshop.hold()).add(["one"])

        async def unused(names: Collection[str]) -> Collection[str]:
            stack.close()
            return names

        assert await workshop.collect(unused) == {"two"}


async def test_what_is_held_while_others_are_counted_is_not_removed(
    workshop: Workshop, node: FakeNode
) -> None:
    add(node, "one")
    with workshop.hold() as hold:

        async def unused(names: Collection[str]) -> Collection[str]:
            hold.add(["one"])
            return names

        assert await workshop.collect(unused) == frozenset()


async def test_a_layer_that_has_no_holder_yet_is_not_removed(workshop: Workshop, node: FakeNode) -> None:
    add(node, "old")
    async with workshop.making("a"):
        add(node, "new")
        async with workshop.making("b"):
            add(node, "newer")
            assert await workshop.collect(all_of) == {"old"}
        assert await workshop.collect(all_of) == frozenset()
    assert await workshop.collect(all_of) == {"new", "newer"}


# Who makes a layer


async def most_at_once(workshop: Workshop, *keys: str) -> int:
    """How many of the makers of these layers are at work when none can go on."""
    inside, go = 0, asyncio.Event()

    async def make(key: str) -> None:
        nonlocal inside
        async with workshop.making(key):
            inside += 1
            await go.wait()
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(make(key))
        for _ in keys:
            await asyncio.sleep(0)
        most = inside
        go.set()
    return most


async def test_one_layer_is_made_by_one_at_a_time(workshop: Workshop) -> None:
    assert await most_at_once(workshop, "a", "a", "a") == 1
    assert await most_at_once(workshop, "a", "b", "b") == 2


async def test_who_waited_takes_what_was_made(workshop: Workshop, node: FakeNode) -> None:
    made: list[str] = []

    async def build(name: str) -> None:
        with workshop.hold() as hold:
            async with workshop.making("a"):
                if not await workshop.take(["a"], hold):
                    made.append(name)
                    add(node, name)
                    await workshop.keep("a", TEAM, Layer(name, 1), 0.1, hold)

    async with asyncio.TaskGroup() as group:
        for name in ("one", "two", "three"):
            group.create_task(build(name))
    assert len(made) == 1


async def test_a_failure_lets_the_next_make_it(workshop: Workshop, node: FakeNode) -> None:
    with pytest.raises(RuntimeError):
        async with workshop.making("a"):
            raise RuntimeError
    async with asyncio.timeout(10), workshop.making("a"):
        add(node, "one")
    assert await workshop.collect(all_of) == {"one"}


# Uploaded files


async def test_old_files_are_removed(workshop: Workshop, node: FakeNode) -> None:
    day = 86400
    node.received = {"old": b"", "new": b""}
    node.used = {"old": time.time() - 3 * day, "new": time.time() - day}
    await workshop.drop_old_files(2)
    assert node.files().keys() == {"new"}


async def test_after_a_restart_of_the_machine_only_finished_builds_are_trusted(
    control: Control, who: Principal, node: FakeNode, tmp_path: Path
) -> None:
    workshop, record = control.workshop, tmp_path / "boot"
    template = await control.templates.resolve(who.team_id, "base")
    with workshop.hold() as hold:
        await workshop.keep("finished", who.team_id, Layer(template.layers[-1], 1), 1, hold)
        await workshop.keep("unfinished", who.team_id, Layer("layer-x", 1), 1, hold)
    node.layer_names |= {*template.layers, "layer-x"}

    await workshop.start(record)
    assert (await workshop.look(["finished", "unfinished"])).keys() == {"finished", "unfinished"}
    await workshop.start(record)
    assert (await workshop.look(["finished", "unfinished"])).keys() == {"finished", "unfinished"}

    record.write_text("another boot")
    await workshop.start(record)

    assert (await workshop.look(["finished", "unfinished"])).keys() == {"finished"}


async def test_a_directory_is_worked_in_by_one_at_a_time(workshop: Workshop) -> None:
    inside: list[str] = []

    async def work(name: str, *directories: str) -> None:
        async with workshop.alone(directories):
            inside.append(name)
            await asyncio.sleep(0)
            inside.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(work("one", "a", "b"))
        group.create_task(work("two", "b", "a"))

    assert inside in (["one", "one", "two", "two"], ["two", "two", "one", "one"])
