from equipoise.modality import View
from equipoise.testing.discovery import classes, targets
from equipoise.testing.modality_laws import ViewLaws


class TestViews(ViewLaws):
    pass


class TestScreenedGenotypes(ViewLaws):
    @classmethod
    def options(cls):
        return {"screened": {**ViewLaws.options()["genotype"], "screen": 9, "min_maf": 0.1}}


class TestRankNormalColumns(ViewLaws):
    @classmethod
    def options(cls):
        return {name: {**ViewLaws.options()[name], "transform": "rank_normal"} for name in ("biomarker", "lifestyle", "clinical")}


class TestShortHistories(ViewLaws):
    @classmethod
    def options(cls):
        return {"five events": {**ViewLaws.options()["ehr"], "max_events": 5, "winsorise": None, "log_skewness": None}}


def test_every_view_of_the_room_can_be_chosen_by_a_yaml() -> None:
    assert classes("modality", View) == targets("modality")
