import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.data.amazon import AmazonSettings, read_amazon
from lmmrec_core.data.assemble import ContentSettings
from lmmrec_core.data.folder import FolderSettings
from lmmrec_core.data.movielens import SLICES
from lmmrec_core.data.texts import compose, leaks, without_markup
from lmmrec_core.errors import ConfigError


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Ages 3 &amp; up", "Ages 3 & up"),
        ("one<br/>two<p>three</p>", "one two three"),
        ("<b>bold</b>er, <i>it</i>", "bolder, it"),
        ("5 < 6 and 7 > 3, <3", "5 < 6 and 7 > 3, <3"),
        ("&lt;b&gt;x&lt;/b&gt;", "x"),
        (" a \n\n b\t c ", "a b c"),
        ("<!--[if gte mso 9]><xml>w</xml><![endif]-->text", "text"),
        ("<o:p>office</o:p> <?xml:namespace prefix = o ?>x", "office x"),
        ("<style>p {color: red}</style>seen", "seen"),
        ("caf\u00e9 &quot;bear&quot;", 'caf\u00e9 "bear"'),
        ("", ""),
        ("a<b and c>d", "a<b and c>d"),
        ("if x <i and j> y, List<String> or <http://a.b>", "if x <i and j> y, List<String> or <http://a.b>"),
        ("prices <low> to <high>", "prices <low> to <high>"),
        ("<a href=x target = '_blank'>link</a>ed <td nowrap>cell<hr noshade/>", "linked cell"),
        ('<img alt=\'a > b\' src=x>cat <img alt = "5>4"/>dog <td width=5">cell', "cat dog cell"),
        ("<a href='>link</a> it's", "link it's"),
        ("<script src='a>b'>var x = '<b>';</SCRIPT >seen <!-- <script> --> too", "seen too"),
        ("never closed: <!-- here, <script>and here", "never closed: <!-- here, and here"),
        ("&#" + "9" * 5000 + ";x", "\ufffdx"),
    ],
)
def test_markup_is_removed_and_text_kept(raw, expected):
    assert without_markup(raw) == expected


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<!-- -->", "<script", "<script>", "<style>", "<xml>>", "</script ", "<script><!--", "<b ", "<b a", "<a/",
     "<", "<!", "&#", "&#9", "&lt;", "<p =", " ", "<b a='", "<b a=' b=\"", "='", "= '", "= ", "<b a='>'"],
)  # fmt: skip
def test_the_time_for_a_text_grows_with_its_length(piece):
    """300,000 characters take less than a tenth of a second; whatever is quadratic takes minutes."""
    start = time.process_time()
    without_markup(piece * (300_000 // len(piece)))
    without_markup("<b " + piece * (300_000 // len(piece)))
    assert time.process_time() - start < 3


def test_fields_are_joined_by_a_stop_unless_they_end_in_one():
    assert compose(["Jug!", "Kiln", "", "  ", "Tall."]) == "Jug! Kiln. Tall."


def test_no_field_gives_no_text():
    assert compose(["", " <br> ", "&nbsp;"]) == ""
    assert compose([]) == ""


@given(st.text())
def test_plain_text_has_single_blanks_only(text):
    clean = without_markup(text)
    assert clean == " ".join(clean.split())


@pytest.mark.parametrize(
    "field",
    ["reviewText", "review_text", "Reviews", "user_reviews", "related", "also_bought", "alsoViewed", "also_buy",
     "bought_together", "buy_after_viewing", "salesRank", "sales_rank", "ratings"],
)  # fmt: skip
def test_fields_that_tell_of_interactions_are_refused(field):
    for settings, more in ((FolderSettings, {}), (AmazonSettings, {"category": "Baby"})):
        with pytest.raises(ConfigError, match=f"'{field}' tells of interactions"):
            settings.build({**more, "text_fields": ("title", field)})


def test_no_reader_composes_texts_of_anything_but_content():
    defaults = [
        ContentSettings(),
        FolderSettings(),
        AmazonSettings(category="Baby"),
        *(s.settings for s in SLICES.values()),
    ]
    assert all(settings.text_fields == ("title", "brand", "categories", "description") for settings in defaults)
    for field in ("title", "plot", "summary", "description", "preview_text", "genre"):
        assert not leaks(field)


def test_reviews_related_items_and_ranks_never_reach_an_amazon_text(tmp_path):
    asins = [f"B{number:09d}" for number in range(4)]
    reviews = [
        {"reviewerID": f"u{user}", "asin": asin, "overall": 5.0, "unixReviewTime": 1, "reviewText": "LEAK",
         "summary": "LEAK", "reviewerName": "LEAK"}
        for user in range(3) for asin in asins
    ]  # fmt: skip
    records = [
        {"asin": asin, "title": f"Jug {asin[-1]}", "description": "Tall.", "salesRank": {"LEAK": 1}, "price": "LEAK",
         "related": {"also_bought": ["LEAK"], "also_viewed": ["LEAK"]}, "imUrl": "LEAK"}
        for asin in asins
    ]  # fmt: skip
    (tmp_path / "reviews_Toy_5.json").write_text("\n".join(map(json.dumps, reviews)), encoding="utf-8")
    (tmp_path / "meta_Toy.json").write_text("\n".join(map(repr, records)), encoding="utf-8")
    catalogue = read_amazon(tmp_path, AmazonSettings(category="Toy", missing_image="keep"))
    assert catalogue.texts == tuple(f"Jug {asin[-1]}. Tall." for asin in asins)
