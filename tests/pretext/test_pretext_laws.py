from equipoise.pretext import Pretext
from equipoise.testing.discovery import classes, targets
from equipoise.testing.pretext_laws import PretextLaws


class TestPretexts(PretextLaws):
    pass


def test_every_pretext_of_the_room_can_be_chosen_by_a_yaml() -> None:
    assert classes("pretext", Pretext) == targets("pretext")
