from equipoise.fusion import Fusion
from equipoise.testing.discovery import classes, targets
from equipoise.testing.fusion_laws import FusionLaws


class TestFusions(FusionLaws):
    pass


def test_every_fusion_of_the_room_can_be_chosen_by_a_yaml() -> None:
    assert classes("fusion", Fusion) == targets("fusion")
