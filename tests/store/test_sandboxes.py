from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from berm.models import Ingress, Lifecycle, OnTimeout, Paused, Sandbox, State
from berm.store import sandboxes as store
from berm.store.database import Database
from berm.store.paging import Slice
from berm.store.sandboxes import Filter, Once
from tests.store.samples import MINUTE, NOON, OTHER_TEAM, TEAM, add_teams, sandbox


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def add(database: Database, *made: Sandbox) -> None:
    for each in made:
        await database.run(store.add, each)


async def test_what_was_added_is_found_unchanged(database: Database) -> None:
    made = sandbox(metadata={"key": 'va"l\u00fce \U0001f600', "": ""})
    await add(database, made)
    assert await database.run(store.find, TEAM, made.sandbox_id, NOON) == made


async def test_how_requests_reach_it_is_found_for_live_ones(database: Database) -> None:
    ingress = Ingress("token", "${PORT}-app", (8443, 9443))
    private, public, over = (
        replace(sandbox(), ingress=ingress),
        sandbox(team_id=OTHER_TEAM),
        sandbox(minutes=1),
    )
    await add(database, private, public, over)
    assert await database.run(store.find, TEAM, private.sandbox_id, NOON) == private
    assert await database.run(store.ingresses, NOON + 2 * MINUTE) == {
        private.sandbox_id: (ingress, "secret"),
        public.sandbox_id: (Ingress(), "secret"),
    }


async def test_another_team_does_not_find_it(database: Database) -> None:
    made = sandbox()
    await add(database, made)
    assert await database.run(store.find, OTHER_TEAM, made.sandbox_id, NOON) is None
    assert not await database.run(store.end_own, OTHER_TEAM, made.sandbox_id, NOON)
    assert not await database.run(store.set_end, OTHER_TEAM, made.sandbox_id, NOON, NOON)
    assert await database.run(store.extend, OTHER_TEAM, made.sandbox_id, NOON, NOON) is None


async def test_it_is_live_until_its_end(database: Database) -> None:
    made = sandbox(minutes=5)
    await add(database, made)
    assert await database.run(store.find, TEAM, made.sandbox_id, NOON + 4 * MINUTE) == made
    assert await database.run(store.find, TEAM, made.sandbox_id, NOON + 5 * MINUTE) is None


async def test_it_can_be_ended_once(database: Database) -> None:
    made = sandbox()
    await add(database, made)
    assert await database.run(store.end_own, TEAM, made.sandbox_id, NOON)
    assert not await database.run(store.end_own, TEAM, made.sandbox_id, NOON)
    assert await database.run(store.find, TEAM, made.sandbox_id, NOON) is None


async def test_set_end_moves_both_ways_and_extend_only_to_later(database: Database) -> None:
    made = sandbox(minutes=5)
    await add(database, made)
    assert await database.run(store.set_end, TEAM, made.sandbox_id, NOON + MINUTE, NOON)
    longer = await database.run(store.extend, TEAM, made.sandbox_id, NOON + 9 * MINUTE, NOON)
    assert longer is not None
    assert longer.end_at == NOON + 9 * MINUTE
    same = await database.run(store.extend, TEAM, made.sandbox_id, NOON + 2 * MINUTE, NOON)
    assert same == longer


async def test_one_that_is_over_cannot_be_extended(database: Database) -> None:
    made = sandbox(minutes=5)
    await add(database, made)
    late = NOON + 5 * MINUTE
    assert not await database.run(store.set_end, TEAM, made.sandbox_id, late + MINUTE, late)
    assert await database.run(store.extend, TEAM, made.sandbox_id, late + MINUTE, late) is None


async def test_expire_ends_those_that_are_over_and_names_the_next_end(database: Database) -> None:
    over, next_one, later = (sandbox(minutes=m) for m in (1, 2, 3))
    await add(database, later, over, next_one)
    expired = await database.run(store.expire, NOON + MINUTE)
    assert expired == store.Expired((over.sandbox_id,), (), next_one.end_at)
    assert (await database.run(store.expire, NOON + MINUTE)).ended == ()


async def test_expire_with_nothing_left_names_no_end(database: Database) -> None:
    assert await database.run(store.expire, NOON) == store.Expired((), (), None)


async def test_ended_ones_are_forgotten_after_a_while(database: Database) -> None:
    made = sandbox()
    await database.run(store.add, made, Once("key", "digest"))
    await database.run(store.end, made.sandbox_id, NOON)
    await database.run(store.expire, NOON + store.KEPT)
    assert await database.run(store.find_once, TEAM, "key") == (made, "digest")
    await database.run(store.expire, NOON + store.KEPT + MINUTE)
    assert await database.run(store.find_once, TEAM, "key") is None


async def test_an_idempotency_key_belongs_to_one_sandbox_of_a_team(database: Database) -> None:
    await database.run(store.add, sandbox(), Once("key", "digest"))
    await database.run(store.add, sandbox(OTHER_TEAM), Once("key", "digest"))
    with pytest.raises(IntegrityError):
        await database.run(store.add, sandbox(), Once("key", "digest"))


async def test_adopt_ends_what_does_not_run_and_names_what_should_not(database: Database) -> None:
    running, dead = sandbox(), sandbox()
    await add(database, running, dead)
    paused = {"other": Paused(1, has_processes=False)}
    strays = await database.run(store.adopt, [running.sandbox_id, "stray"], paused, NOON)
    assert strays == store.Strays(frozenset({"stray"}), frozenset({"other"}))
    assert await database.run(store.find, TEAM, running.sandbox_id, NOON) == running
    assert await database.run(store.find, TEAM, dead.sandbox_id, NOON) is None


async def test_one_to_be_paused_at_its_end_is_never_over(database: Database) -> None:
    made = replace(sandbox(minutes=1), lifecycle=Lifecycle(OnTimeout.PAUSE))
    await add(database, made)
    late = NOON + 5 * MINUTE
    assert await database.run(store.expire, late) == store.Expired((), (made.sandbox_id,), None)
    assert await database.run(store.find, TEAM, made.sandbox_id, late) == made
    assert await database.run(store.pause, made.sandbox_id, 1, late, keeps_memory=True)
    assert await database.run(store.expire, late) == store.Expired((), (), None)
    found = await database.run(store.find, TEAM, made.sandbox_id, late + 999 * MINUTE)
    assert found == replace(made, state=State.PAUSED, generation=1, keeps_memory=True, end_at=late)


async def test_a_paused_one_has_no_end_to_move(database: Database) -> None:
    made = sandbox()
    await add(database, made)
    await database.run(store.pause, made.sandbox_id, 1, NOON, keeps_memory=True)
    later = NOON + 9 * MINUTE
    assert not await database.run(store.set_end, TEAM, made.sandbox_id, later, NOON)
    found = await database.run(store.extend, TEAM, made.sandbox_id, later, NOON)
    assert found
    assert (found.state, found.end_at) == (State.PAUSED, NOON)
    resumed = await database.run(store.resume, made.sandbox_id, later)
    assert resumed == replace(made, end_at=later, generation=1)


async def test_what_has_ended_is_neither_paused_nor_resumed(database: Database) -> None:
    made = sandbox()
    await add(database, made)
    await database.run(store.end, made.sandbox_id, NOON)
    assert not await database.run(store.pause, made.sandbox_id, 1, NOON, keeps_memory=True)
    assert await database.run(store.resume, made.sandbox_id, NOON) is None


async def test_only_those_wake_up_whose_processes_are_kept(database: Database) -> None:
    wakes, rests, never = (
        replace(sandbox(), lifecycle=Lifecycle(auto_resume=auto)) for auto in (True, True, False)
    )
    await add(database, wakes, rests, never)
    for made, memory in ((wakes, True), (rests, False), (never, True)):
        await database.run(store.pause, made.sandbox_id, 1, NOON, keeps_memory=memory)
    assert await database.run(store.dormant) == {wakes.sandbox_id}


async def test_adopt_tells_a_paused_one_that_was_ended_from_one_that_never_was(database: Database) -> None:
    made = sandbox()
    await add(database, made)
    await database.run(store.end, made.sandbox_id, NOON)
    paused = {name: Paused(1, has_processes=False) for name in (made.sandbox_id, "unknown")}
    strays = await database.run(store.adopt, [], paused, NOON)
    assert strays == store.Strays(frozenset({made.sandbox_id}), frozenset({"unknown"}))


@pytest.mark.parametrize(
    ("recorded", "kept", "then"),
    [
        ((State.RUNNING, 0), Paused(1, has_processes=True), (State.PAUSED, 1, True)),
        ((State.RUNNING, 1), Paused(1, has_processes=False), (State.PAUSED, 1, False)),
        ((State.PAUSED, 2), Paused(2, has_processes=False), (State.PAUSED, 2, False)),
        ((State.PAUSED, 3), Paused(2, has_processes=False), (State.PAUSED, 3, False)),
        ((State.PAUSED, 1), Paused(2, has_processes=True), (State.PAUSED, 2, True)),
    ],
    ids=["pause not recorded", "resume not finished", "processes ended", "older files", "paused again"],
)
async def test_adopt_follows_the_node_but_never_goes_back(
    database: Database, recorded: tuple[State, int], kept: Paused, then: tuple[State, int, bool]
) -> None:
    made = replace(sandbox(state=recorded[0]), generation=recorded[1], keeps_memory=True)
    await add(database, made)
    strays = await database.run(store.adopt, [], {made.sandbox_id: kept}, NOON)
    assert strays == store.Strays(frozenset(), frozenset())
    found = await database.run(store.find, TEAM, made.sandbox_id, NOON)
    assert found
    assert (found.state, found.generation, found.keeps_memory) == then


async def test_adopt_lets_one_run_whose_resuming_was_not_recorded(database: Database) -> None:
    made = replace(sandbox(state=State.PAUSED, minutes=0), lifetime=60)
    await add(database, made)
    await database.run(store.adopt, [made.sandbox_id], {}, NOON)
    found = await database.run(store.find, TEAM, made.sandbox_id, NOON)
    assert found
    assert (found.state, found.end_at) == (State.RUNNING, NOON + MINUTE)


async def listed(database: Database, wanted: Filter) -> list[str]:
    listing = await database.run(store.listing, TEAM, wanted, Slice(), NOON)
    return [s.sandbox_id for s in listing.page.items]


async def test_listing_shows_live_ones_of_the_team_newest_first(database: Database) -> None:
    old, new = sandbox(), sandbox(started_at=NOON + MINUTE)
    over = sandbox(started_at=NOON - 9 * MINUTE, minutes=1)
    await add(database, new, sandbox(OTHER_TEAM), old, over)
    assert await listed(database, Filter()) == [new.sandbox_id, old.sandbox_id]


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(states=[State.PAUSED]),
        Filter(template="special"),
        Filter(template="id-of-special"),
        Filter(started_after=NOON + MINUTE),
        Filter(metadata={'a"b': "%_", "c": "d"}),
    ],
)
async def test_listing_by_one_condition(database: Database, wanted: Filter) -> None:
    special = sandbox(
        started_at=NOON + MINUTE,
        template="special",
        state=State.PAUSED,
        metadata={'a"b': "%_", "c": "d", "more": ""},
    )
    await add(database, special, sandbox(metadata={'a"b': "%_"}), sandbox(metadata={"c": "d", 'a"b': "x"}))
    assert await listed(database, wanted) == [special.sandbox_id]


async def test_an_unknown_template_or_metadata_lists_nothing(database: Database) -> None:
    await add(database, sandbox())
    assert await listed(database, Filter(template="none")) == []
    assert await listed(database, Filter(metadata={"k": "v"})) == []


@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_show_everything_once_in_order(database: Database, newest_first: bool) -> None:
    made = [sandbox(started_at=NOON + (i // 3) * MINUTE) for i in range(7)]
    await add(database, *made)
    seen: list[Sandbox] = []
    page = Slice(2, newest_first=newest_first)
    while True:
        listing = await database.run(store.listing, TEAM, Filter(), page, NOON)
        assert listing.running == 7
        seen += listing.page.items
        if listing.page.next is None:
            break
        page = Slice(2, listing.page.next, newest_first)
    assert seen == sorted(made, key=lambda s: (s.started_at, s.sandbox_id), reverse=newest_first)


async def test_a_last_page_that_is_full_has_no_next(database: Database) -> None:
    await add(database, sandbox(), sandbox())
    listing = await database.run(store.listing, TEAM, Filter(), Slice(2), NOON)
    assert listing.page.next is None


async def test_running_counts_only_running_ones(database: Database) -> None:
    await add(database, sandbox(), sandbox(state=State.PAUSED))
    listing = await database.run(store.listing, TEAM, Filter(), Slice(1), NOON)
    assert listing.running == 1


async def test_what_is_known_of_all_teams_and_of_those_that_ended(database: Database) -> None:
    running, paused, others = sandbox(), sandbox(state=State.PAUSED), sandbox(team_id=OTHER_TEAM)
    await add(database, running, paused, others)
    ids = [made.sandbox_id for made in (running, paused, others)]
    assert await database.run(store.all_live, NOON) == set(ids)
    assert await database.run(store.allocated, NOON) == (2, 1024)
    found = await database.run(store.find_all, TEAM, [*ids, "unknown"], NOON)
    assert {made.sandbox_id for made in found} == set(ids[:2])
    for made in (running, others):
        await database.run(store.end, made.sandbox_id, NOON)
    assert await database.run(store.all_live, NOON) == {paused.sandbox_id}
    assert await database.run(store.allocated, NOON) == (0, 0)
    assert await database.run(store.find_all, TEAM, [running.sandbox_id], NOON) == []
    assert await database.run(store.is_known, TEAM, running.sandbox_id)
    assert not await database.run(store.is_known, TEAM, others.sandbox_id)
    assert not await database.run(store.is_known, TEAM, "unknown")
