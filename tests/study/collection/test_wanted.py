"""What a track needs, and how its counts are held beside the printed ones."""

import pandas as pd
import pytest

from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.fetching.sources import read_publications
from lmmrec_core.names import FETCHED
from lmmrec_core.study.collection.counts import ALL, WITH_PICTURE, count_universes, require_near, too_far
from lmmrec_core.study.collection.wanted import wanted_by
from lmmrec_core.study.declared.track_file import read_track
from tests.study.collection import toy_release


def paths(**asked: object) -> list[str]:
    wanted = wanted_by(read_track("paper"), read_publications(), **asked)
    return [source.path for one in wanted if not one.installed for source in one.sources]


def test_the_paper_needs_three_categories_and_three_encoders() -> None:
    wanted = wanted_by(read_track("paper"), read_publications())
    assert [one.reader for one in wanted] == ["sports", "clothing", "baby", "minilm", "clip-b16", "vlmo-base-plus"]
    assert {one.category for one in wanted} == {"Sports_and_Outdoors", "Clothing_Shoes_and_Jewelry", "Baby", ""}
    assert wanted[2].pictures is not None and wanted[2].pictures.path == "amazon/Baby/images"
    assert "amazon/Baby/reviews_Baby_5.json.gz" in paths() and "amazon/Baby/image_features_Baby.b" in paths()


def test_files_come_to_where_the_track_reads_them() -> None:
    track = read_track("paper")
    assert track.encoder("vlmo")["settings"]["weights"] in paths()
    clip = track.encoder("clip")
    assert read_publications()[clip["encoder"]].open_clip.tag == clip["settings"]["pretrained"]
    from lmmrec_core.encoders import ENCODERS

    assert read_publications()[clip["encoder"]].open_clip.model == ENCODERS[clip["encoder"]].DEFAULTS["model"]
    for name, settings in track.datasets.items():
        (wanted,) = (one for one in wanted_by(track, read_publications()) if one.reader == name)
        assert all(source.path.startswith(f"{settings.path}/") for source in wanted.sources)
        assert wanted.publication.rows[wanted.category] > 0


def test_one_may_ask_for_a_part() -> None:
    assert paths(datasets=["baby"], only=["metadata"]) == ["amazon/Baby/meta_Baby.json.gz"]
    assert paths(only=["vlmo"]) == ["vlmo/vlmo_base_plus_patch16_224.pt"]
    (clip,) = wanted_by(read_track("paper"), read_publications(), only=["clip"])
    assert clip.publication.open_clip is not None
    for kind in FETCHED:
        assert wanted_by(read_track("paper"), read_publications(), only=[kind]), kind


@pytest.mark.parametrize(
    ("track", "asked", "told"),
    [
        ("paper", {"only": ["picture"]}, "did you mean 'pictures'"),
        ("paper", {"datasets": ["babies"]}, "did you mean 'baby'"),
        ("films", {}, "no addresses are known for data set 'ml-sparse'.*give what holds ml-100k-posters"),
    ],
)
def test_what_is_not_known_is_refused(track, asked, told) -> None:
    with pytest.raises(ConfigError, match=told):
        wanted_by(read_track(track), read_publications(), **asked)


def frame(counts: tuple[int, int, int], rows: int, printed: dict[str, int] | None = None) -> pd.DataFrame:
    named = {ALL: dict(zip(("users", "items", "interactions"), counts, strict=True))}
    made = pd.DataFrame.from_dict({**named, **({"Table 2": printed} if printed else {})}, orient="index")
    made.attrs["rows"] = rows
    return made


BABY = {"users": 19_445, "items": 7_037, "interactions": 160_522}


def test_counts_near_the_printed_ones_pass() -> None:
    assert too_far(frame((19_445, 7_050, 160_792), 160_792, BABY), 160_792) == ""
    assert too_far(frame((3, 3, 3), 3), None) == ""


def test_counts_far_from_the_published_ones_are_refused_with_the_flag() -> None:
    told = too_far(frame((19_445, 6_600, 150_000), 160_792, BABY), 160_792)
    assert told == "all items: 150,000 interactions, Table 2 prints 160,522: over 5% apart"
    assert "published are 160,792" in too_far(frame((19_445, 7_050, 160_792), 160_791, BABY), 160_792)
    with pytest.raises(DataError, match=r"baby: .*--accept-counts"):
        require_near(frame((5, 5, 5), 5, BABY), None, "baby")


def test_the_nearer_universe_decides() -> None:
    both = frame((19_445, 9_000, 200_000), 160_792, BABY)
    both.loc[WITH_PICTURE] = [19_445, 7_000, 160_000]
    assert too_far(both, 160_792) == ""


def test_both_universes_are_counted(server, tmp_path) -> None:
    for name, content in toy_release.serve(server).items():
        (tmp_path / name).write_bytes(content)
    settings = read_track(str(toy_release.write_track(tmp_path))).dataset("toy")
    by_vectors = count_universes(tmp_path, settings, "toy")  # no pictures: who has a vector has one
    assert by_vectors.loc[WITH_PICTURE].tolist() == [8, 8, 40] == by_vectors.loc[ALL].tolist()
    assert by_vectors.attrs["rows"] == 40
    (tmp_path / "images").mkdir()
    for item in toy_release.WITH_PICTURE:
        (tmp_path / "images" / f"{toy_release.ITEMS[item]}.jpg").write_bytes(toy_release.picture())
    by_pictures = count_universes(tmp_path, settings, "toy")
    assert by_pictures.loc[ALL].tolist() == [8, 8, 40]
    assert by_pictures.loc[WITH_PICTURE].tolist() == [8, 5, 25]  # each item has five reviews
    printed = count_universes(tmp_path, settings, "baby").loc["Table 2"]
    assert printed.to_dict() == BABY
