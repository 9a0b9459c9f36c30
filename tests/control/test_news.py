import asyncio

from berm.control.news import News


async def test_news_ends_every_wait_that_began_before_it() -> None:
    news = News()
    first, second, other = news.next("a"), news.next("a"), news.next("b")

    news.tell("a")

    assert (first.done(), second.done(), other.done()) == (True, True, False)
    assert not news.next("a").done()


async def test_a_wait_that_was_given_up_is_forgotten() -> None:
    news = News()
    waiting = news.next("a")
    waiting.cancel()
    await asyncio.sleep(0)

    news.tell("a")

    assert waiting.cancelled()


async def test_news_that_nobody_waits_for_is_lost() -> None:
    news = News()

    news.tell("a")

    assert not news.next("a").done()
