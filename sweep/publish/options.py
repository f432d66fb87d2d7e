"""What the command line may say of what is published on the hub."""

import re
from dataclasses import dataclass

from sweep.publish.naming import HUB_NAME
from xpe_core.backbones.files import is_path
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
OPTIONS = {
    **{"dry_run": "--dry-run", "into": "--folder", "private": "--private"},
    **{"license": "--license", "datasets": "--dataset", "base_model": "--base-model"},
}
"""What the fields of `HubOptions` are called on the command line."""


@dataclass(frozen=True)
class HubOptions:
    """What was said of a publication; None or empty where nothing was."""

    dry_run: bool = False
    into: str | None = None
    """The folder of a dry run."""
    private: bool = False
    license: str | None = None
    """The hub's id of the adapters' licence; without one it is Apache's."""
    datasets: tuple[str, ...] = ()
    """Names of the data set on the hub."""
    base_model: str | None = None
    """Name of the backbone on the hub."""

    def list_given(self) -> list[str]:
        """Return the options that were given, as they stand on the command line."""
        return [OPTIONS[name] for name, value in vars(self).items() if value]

    def check(self) -> None:
        """Raise InputError where an option means nothing."""
        if self.into is not None and not self.dry_run:
            raise InputError(
                f"--folder {self.into}: is where --dry-run writes what would be uploaded; say --dry-run, too"
            )
        if self.license is not None and not LICENSE.fullmatch(self.license):
            raise InputError(
                f"--license {self.license!r}: must be the hub's id of a licence, such as apache-2.0, mit or cc-by-4.0"
            )
        for option, name in (*(("--dataset", name) for name in self.datasets), ("--base-model", self.base_model)):
            if name is not None and not HUB_NAME.fullmatch(name):
                raise InputError(f"{option} {name!r}: must be a name on the hub, USER/NAME")

    def check_names(self, config: RunConfig) -> None:
        """Refuse to give a backbone or data set another name than the one that it has; folders have none."""
        for option, own, name in (
            ("--base-model", config.backbone, self.base_model),
            ("--dataset", config.data.dataset, next(iter(self.datasets), None)),
        ):
            if name not in (None, own) and not is_path(own):
                raise InputError(f"{option} {name}: is for what was a folder or file; this was trained with {own}")
