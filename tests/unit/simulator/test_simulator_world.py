import numpy as np
import pytest
from small_portals import MONDAY, small, world_of

from tasks.simulator.settings import Shift, SimulatorSettings
from tasks.simulator.simulate import generate_day
from tasks.simulator.titles import compose
from tasks.simulator.vocabulary import EVENT, TOPICS
from tasks.simulator.world import DAY_US, live_items, popularity


def test_interests_wander_a_step_a_day_and_stay_as_different_as_they_were():
    settings = small(num_users=3_000, wander_per_day=0.5)
    first, second, third, late = (world_of(settings, day).interests for day in (1, 2, 3, 40))
    step = np.sqrt(1 - 0.5**2)
    for moved, expected in ((second, step), (third, step**2), (late, 0.0)):
        found = np.corrcoef(first.ravel(), moved.ravel())[0, 1]
        # 3,000 readers × 14 topics: the standard error of a correlation is 0.005
        assert found == pytest.approx(expected, abs=0.02)
        assert moved.std() == pytest.approx(1, abs=0.02)


def test_interests_that_do_not_wander_stay():
    settings = small(wander_per_day=0.0)
    assert (world_of(settings, 1).interests == world_of(settings, 5).interests).all()


def test_an_item_is_shown_half_as_often_after_each_half_life():
    settings = SimulatorSettings(births_per_day=400, half_life_days=0.5, impressions_per_day=8_000)
    rows = generate_day(settings, first_day=MONDAY, number=2)
    items = world_of(settings, 2).items
    published = dict(zip(items.number.tolist(), items.published.tolist(), strict=True))
    born = np.array([published[int(item[1:])] for item in rows["item_id"].to_pylist()])
    shown = rows["event_time"].cast("int64").to_numpy()
    age = (shown - born) / DAY_US / settings.half_life_days
    # an item waits for the hour after its birth, so the first half-life starts an hour in
    counts = np.histogram(age, bins=[0.5, 1.5, 2.5, 3.5, 4.5])[0]
    np.testing.assert_allclose(counts[1:] / counts[:-1], 0.5, atol=0.06)
    # shown from the hour on that follows the birth until six half-lives, and the hour's rest
    assert age.min() >= 0 and age.max() <= 6 + 1 / 12


def test_popularity_by_hand():
    settings = small(half_life_days=2.0)
    items = world_of(settings, 1).items
    at, later = (popularity(settings, items, int(items.published[0] + d * DAY_US)) for d in (0, 4))
    np.testing.assert_allclose(later, at / 4)


def test_what_is_not_yet_published_or_has_lived_its_life_is_not_live():
    settings = small()
    world = world_of(settings, 3)
    items, noon = world.items, world.midnight + DAY_US // 2
    live = live_items(settings, items, noon)
    assert (items.published[live] <= noon).all()
    assert (items.published[live] > noon - 6 * DAY_US).all()
    assert live.sum() == pytest.approx(settings.live_items, abs=2)


def test_items_are_numbered_once_and_the_first_catalogue_is_full():
    settings = small()
    first, second = world_of(settings, 1), world_of(settings, 2)
    assert len(first.changed.number) == 240 + 40
    births = second.changed.number[second.num_updates :]
    assert births.tolist() == list(range(280, 320))
    assert len(set(second.items.number.tolist())) == len(second.items.number)


def test_an_update_changes_text_and_time_but_not_the_title():
    before, after = world_of(small(births_per_day=400), 1), world_of(small(births_per_day=400), 2)
    updated = after.changed.take(np.arange(after.num_updates))
    assert after.num_updates > 10
    at = {number: place for place, number in enumerate(before.items.number.tolist())}
    old = before.items.take(np.array([at[number] for number in updated.number.tolist()]))
    assert (old.title == updated.title).all()
    assert (old.text != updated.text).mean() > 0.9
    assert (updated.updated >= after.midnight).all() and (old.updated < after.midnight).all()


def test_a_day_of_the_world_depends_on_no_shift_that_begins_later():
    plain, shifted = small(), small(shifts=(Shift("new_topic", 4), Shift("category_mix", 4)))
    rows = [generate_day(settings, first_day=MONDAY, number=3) for settings in (plain, shifted)]
    assert rows[0].equals(rows[1])


def test_every_topic_has_words_of_its_own():
    assert len(TOPICS) == 14
    used = [set(topic.nouns + topic.verbs + topic.adjectives) for topic in TOPICS]
    for number, topic in enumerate(TOPICS):
        assert (len(topic.nouns), len(topic.verbs), len(topic.adjectives)) == (20, 8, 8)
        assert not set(topic.nouns) & set(EVENT)
        for other in range(number):
            assert len(used[number] & used[other]) <= 3, (topic.topic, TOPICS[other].topic)


@pytest.mark.parametrize("topic", range(len(TOPICS)))
def test_a_title_has_two_to_four_words_of_its_topic(topic):
    titles, texts = compose(
        np.random.default_rng(0), np.full(200, topic), np.zeros(200, dtype=np.bool_)
    )
    vocabulary = TOPICS[topic]
    own = set(vocabulary.nouns + vocabulary.verbs + vocabulary.adjectives)
    for title, text in zip(titles, texts, strict=True):
        words = [word.strip(",:?").lower() for word in title.split()]
        assert 2 <= sum(word in own for word in words) <= 4, title
        assert title[0].isupper() and "{" not in title + text
