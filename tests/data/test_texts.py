import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.data.texts import compose, plain


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
    ],
)
def test_markup_is_removed_and_text_kept(raw, expected):
    assert plain(raw) == expected


def test_fields_are_joined_by_a_stop_unless_they_end_in_one():
    assert compose(["Jug!", "Kiln", "", "  ", "Tall."]) == "Jug! Kiln. Tall."


def test_no_field_gives_no_text():
    assert compose(["", " <br> ", "&nbsp;"]) == ""
    assert compose([]) == ""


@given(st.text())
def test_plain_text_has_single_blanks_only(text):
    clean = plain(text)
    assert clean == " ".join(clean.split())
