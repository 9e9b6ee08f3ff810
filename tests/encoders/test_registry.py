import subprocess
import sys

import pytest

from lmmrec_core.encoders import ENCODERS


def test_naming_encoders_loads_no_deep_learning_library(root):
    code = (
        "import sys; from lmmrec_core.encoders import ENCODERS; assert 'lite0' in ENCODERS, list(ENCODERS);"
        "print([m for m in ('torch', 'timm', 'transformers', 'open_clip') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list(ENCODERS))
def test_a_member_is_called_what_it_calls_itself(name):
    assert ENCODERS[name].name == name
    assert set(ENCODERS[name].modalities) <= {"visual", "textual"}
