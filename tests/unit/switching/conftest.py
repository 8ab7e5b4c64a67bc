"""A model that most tests of switching begin with."""

import live
import pytest


@pytest.fixture
def attached():
    return live.attached()
