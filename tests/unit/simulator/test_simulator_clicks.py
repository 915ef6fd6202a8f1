import numpy as np
import pytest
from small_portals import MONDAY, small, world_of

from tasks.errors import ConfigError
from tasks.simulator.clicks import find_level, truth_of
from tasks.simulator.settings import Shift, SimulatorSettings
from tasks.simulator.simulate import generate_day
from tasks.simulator.slates import Slates


def column(rows, name):
    return rows[name].to_numpy(zero_copy_only=False)


@pytest.fixture(scope="module")
def friday():
    """A big Friday of the default portal."""
    settings = SimulatorSettings(impressions_per_day=20_000)
    return generate_day(settings, first_day=MONDAY, number=5)


def test_the_click_rate_is_the_mean_true_probability(friday):
    probability, clicked = column(friday, "click_probability"), column(friday, "label")
    error = np.sqrt((probability * (1 - probability)).sum()) / len(clicked)
    assert abs(clicked.mean() - probability.mean()) < 4 * error


def test_the_true_probability_is_calibrated_in_every_tenth(friday):
    probability, clicked = column(friday, "click_probability"), column(friday, "label")
    for tenth in np.array_split(np.argsort(probability), 10):
        expected = probability[tenth].mean()
        error = np.sqrt(expected * (1 - expected) / len(tenth))
        assert abs(clicked[tenth].mean() - expected) < 4 * error


def test_the_first_days_click_rate_is_the_one_asked_for():
    for asked in (0.03, 0.3):
        settings = SimulatorSettings(click_rate=asked, impressions_per_day=10_000)
        rows = generate_day(settings, first_day=MONDAY, number=1)
        # readers differ, and a few come very often: their share is what varies
        assert column(rows, "click_probability").mean() == pytest.approx(asked, rel=0.04)


def test_clicks_fall_with_the_position_as_the_known_curve_does(friday):
    position, clicked = column(friday, "position"), column(friday, "label")
    rate = np.array([clicked[position == at].mean() for at in range(1, 21)])
    expected = np.arange(1, 21) ** -0.3
    np.testing.assert_allclose(
        rate[:10] / rate[:10].mean(), expected[:10] / expected[:10].mean(), rtol=0.09
    )
    # slates are in random order, so a position's clicks tell of nothing but the position
    assert rate[10:].mean() / rate[:10].mean() == pytest.approx(
        expected[10:].mean() / expected[:10].mean(), abs=0.06
    )


def test_click_probability_by_hand():
    world = world_of(small(position_bias=1.0, interest_weight=2.0, appeal_weight=0.5), 1)
    slates = Slates(
        time=np.array([world.midnight + 9 * 3_600_000_000]),
        user=np.array([3]),
        item=np.array([[7, 8]]),
        second_page=np.array([False]),
    )
    found = truth_of(world, slates).probability(-1.0)
    # position 2 with bias 1 is looked at half the time; 9:00 is a weekday's lowest: −0.1
    for place, item, looked in ((0, 7, 1.0), (1, 8, 0.5)):
        log_odds = (
            -1.0
            + 2.0 * world.interests[3, world.items.topic[item]]
            + 0.5 * world.items.appeal[item]
            + world.clickiness[3]
            - 0.1
        )
        assert found[0, place] == pytest.approx(looked / (1 + np.exp(-log_odds)))


def test_without_interest_and_appeal_only_reader_hour_and_position_matter():
    settings = small(interest_weight=0.0, appeal_weight=0.0, position_bias=0.0)
    rows = generate_day(settings, first_day=MONDAY, number=1)
    probability = column(rows, "click_probability").reshape(-1, settings.slate_size)
    np.testing.assert_allclose(probability, probability[:, :1].repeat(5, axis=1))


def test_the_level_does_not_move_with_the_shifts():
    shifts = (Shift("click_rate", 1), Shift("category_mix", 1))
    assert find_level(small(), MONDAY) == find_level(small(shifts=shifts), MONDAY)


def test_a_slate_has_no_item_twice_and_its_rows_share_reader_and_time(friday):
    size = 10
    items = column(friday, "item_id").reshape(-1, size)
    assert all(len(set(slate)) == size for slate in items.tolist())
    for name in ("impression_id", "user_id", "event_time", "surface"):
        slates = column(friday, name).reshape(-1, size)
        assert (slates == slates[:, :1]).all()
    assert len(set(column(friday, "event_id"))) == friday.num_rows
    assert len(set(column(friday, "impression_id"))) == friday.num_rows // size


def test_nothing_is_shown_before_it_is_published():
    settings = small()
    world = world_of(settings, 2)
    rows = generate_day(settings, first_day=MONDAY, number=2)
    published = dict(zip(world.items.number.tolist(), world.items.published.tolist(), strict=True))
    born = np.array([published[int(item[1:])] for item in column(rows, "item_id")])
    times = rows["event_time"].cast("int64").to_numpy()
    assert (born <= times).all()
    assert (np.diff(times) >= 0).all()
    assert times.min() >= world.midnight and times.max() < world.midnight + 86_400_000_000


def test_only_clicks_have_a_dwell_time(friday):
    dwell, clicked = column(friday, "dwell_seconds"), column(friday, "label")
    assert (np.isnan(dwell) == (clicked == 0)).all()
    assert 20 < np.nanmedian(dwell) < 80


def test_readers_come_back():
    settings = SimulatorSettings()
    days = [
        set(column(generate_day(settings, first_day=MONDAY, number=day), "user_id"))
        for day in (1, 2)
    ]
    assert len(days[0] & days[1]) / len(days[1]) > 0.7


def test_there_is_no_day_before_the_first():
    with pytest.raises(ConfigError, match="the first day is 1"):
        generate_day(small(), first_day=MONDAY, number=0)


def test_even_a_portal_that_barely_has_enough_items_fills_its_slates():
    settings = small(births_per_day=2, slate_size=4, topics=1, impressions_per_day=50)
    rows = generate_day(settings, first_day=MONDAY, number=9)
    items = column(rows, "item_id").reshape(-1, 4)
    assert all(len(set(slate)) == 4 for slate in items.tolist())


@pytest.mark.parametrize("order", ["newest", "best"])
def test_a_laid_out_slate_holds_what_was_drawn_in_another_order(order):
    drawn, laid = (
        generate_day(small(slate_order=each), first_day=MONDAY, number=2)
        for each in ("random", order)
    )
    shown = [column(rows, "item_id").reshape(-1, 5) for rows in (drawn, laid)]
    assert (shown[0] != shown[1]).any()
    np.testing.assert_array_equal(*(np.sort(slate, axis=1) for slate in shown))
    assert column(drawn, "position").tolist() == column(laid, "position").tolist()


def test_newest_first_is_by_publication_and_best_first_by_what_suits_the_reader():
    newest = generate_day(small(slate_order="newest"), first_day=MONDAY, number=2)
    # items are numbered in the order of their birth
    number = np.array([int(name[1:]) for name in newest["item_id"].to_pylist()]).reshape(-1, 5)
    assert (np.diff(number, axis=1) < 0).all()
    best = generate_day(small(slate_order="best", position_bias=0.0), first_day=MONDAY, number=2)
    by_place = column(best, "click_probability").reshape(-1, 5).mean(axis=0)
    assert (np.diff(by_place) < 0).all() and by_place[0] > 2 * by_place[4]


def test_the_click_rate_is_the_one_asked_for_in_every_order():
    for order in ("newest", "best"):
        settings = SimulatorSettings(slate_order=order, impressions_per_day=10_000)
        rows = generate_day(settings, first_day=MONDAY, number=1)
        assert column(rows, "click_probability").mean() == pytest.approx(0.12, rel=0.04)


def test_an_order_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="slate_order is 'oldest'"):
        small(slate_order="oldest")
