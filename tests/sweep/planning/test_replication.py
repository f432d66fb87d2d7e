"""What a replication's arms have in common."""

from sweep.planning.replication import _is_shared
from xpe_core.config import RunConfig


def test_arms_of_several_tunings_share_the_fields_that_all_of_them_have() -> None:
    arms = {"head": RunConfig(tuning="none").values, "best": RunConfig(tuning="lora", seed=2).values}
    shared = {key for values in arms.values() for key in values if _is_shared(key, arms)}
    assert {"backbone", "max_steps", "pooling"} <= shared
    assert not {"tuning", "rank", "seed"} & shared
