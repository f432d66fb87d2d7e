"""What arms have in common."""

from sweep.experiment.arms import share_fields
from xpe_core.config import RunConfig


def test_arms_of_several_tunings_share_the_fields_that_all_of_them_have() -> None:
    shared, own = share_fields({"head": RunConfig(tuning="none"), "best": RunConfig(tuning="lora", seed=2)})
    assert {"backbone", "max_steps", "pooling"} <= shared.keys()
    assert not {"tuning", "rank", "seed"} & shared.keys()
    assert own["best"]["tuning"] == "lora" and own["best"]["rank"] == 8 and own["head"] == {"tuning": "none"}
