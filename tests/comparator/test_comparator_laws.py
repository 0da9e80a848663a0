from equipoise.comparator import Comparator
from equipoise.testing.comparator_laws import ComparatorLaws
from equipoise.testing.discovery import classes, targets


class TestComparators(ComparatorLaws):
    pass


def test_every_comparator_of_the_room_can_be_chosen_by_a_yaml() -> None:
    assert classes("comparator", Comparator) == targets("comparator")
