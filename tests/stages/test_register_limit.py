import json
from pathlib import Path

import pytest

from tasks.register import holds_layers


@pytest.mark.parametrize(
    ("config", "whole"),
    [
        ({"adapter": {"method": "full"}}, True),
        ({"adapter": {"method": "top_layers", "layers": 2}}, True),
        ({"adapter": {"method": "lora", "rank": 16}}, False),
        ({"adapter": {"rank": 16, "alpha": 32, "top_layers": 2}}, False),  # format 1
        ({}, False),
    ],
)
def test_only_whole_layers_lift_the_limit_on_a_versions_size(tmp_path: Path, config, whole):
    (tmp_path / "ranker.json").write_text(json.dumps(config))
    assert holds_layers(tmp_path) is whole
